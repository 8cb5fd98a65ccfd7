"""Turns the path of a script into a result: a snapshot, one run of k6, and its measurements.

`archive` makes the snapshot and `measure` runs it. `local` starts and stops the k6 process,
`capture` receives its metrics, and `summary` reads its totals. `outcome` and `local.generator`
decide whether the numbers can be trusted.
"""
