"""From the path of a script to a result: its snapshot, one run of k6, and all that k6 said.

`scripts` makes the snapshot, `measure` runs it: `k6` and `guard` hold the process, `capture` hears
its stream, `summary` reads its totals, `outcome` and `generator` say how far to believe them.
"""
