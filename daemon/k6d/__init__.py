"""k6d, the k6 daemon: runs k6 scripts when they change, judges the results, sends alerts."""

__version__ = "0.2.0"
