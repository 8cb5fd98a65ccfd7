"""Turns the path of a script into a result: a snapshot, one run of k6, and its measurements.

`archive` makes the snapshot. An executor runs it (`executor` is the interface): `local.executor`
starts and stops k6 on this machine, `capture` receives its metrics, and `summary` reads its totals.
`measure` makes the result of them. `outcome` and `local.generator` decide whether the numbers can
be trusted.
"""
