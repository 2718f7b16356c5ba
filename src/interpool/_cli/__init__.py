"""The command line: `app` and one module a command. Needs the `cli` extra (click and rich).

A command's module has a click command named `command`; `app` knows the modules by name and loads
only the one that is asked for.
"""
