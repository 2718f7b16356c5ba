"""The demo's work and its report: the standard library's source, measured module by module."""
