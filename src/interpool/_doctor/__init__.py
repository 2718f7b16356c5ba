"""`doctor`: which modules load in an isolated interpreter, found out in processes of their own.

`examination` decides what is probed, `probing` runs the processes, `child` is their program and
`inside` what they run in the interpreter; `verdicts` says what came of it, in terms of `report`.
`installed` knows which distribution a module is of, `cache` what was found before.
"""
