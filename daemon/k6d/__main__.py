"""`python -m k6d` is `k6d`."""

from k6d.cli import main

main()
