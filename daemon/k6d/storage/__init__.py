"""Everything that k6d stores: run files, their index, snapshots and small states.

    runs/2026-11/<test_id>.json   one file for each run; all other data about runs derives from it
    runs/2026-11/<test_id>.tar    files that the script wrote, if it wrote any
    snapshots/<id>.tar            the archives that ran, one for each id
    index/                        TinyDB documents about the runs; can be rebuilt at any time
    state/<name>.json             small TinyDB stores by key

Several processes may use one data folder at once. Writers take a lock; readers need none.
"""
