"""A function over the records of files: what `interpool map` does.

`reading` makes blocks of records, `running` sends them to workers and takes what comes back,
`inside` is what runs there, `writing` puts results and failures into files, `journal` remembers
what was written. The engine knows nothing of it.
"""
