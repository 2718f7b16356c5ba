"""Where tasks run that do not run in the interpreters: worker processes, and threads."""
