"""The benchmark behind `interpool bench`: four executors, side by side, in one run.

`cases` says what is measured, `runner` measures, each time in a fresh process that runs `child`;
`report` holds the figures and makes medians and ratios of them; `table` and `plot` show them.
Nothing here is imported by the engine.
"""
