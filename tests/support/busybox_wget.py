#!/usr/bin/env python3
"""`wget` with BusyBox's options, for init containers of the tests' cluster."""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request
from pathlib import Path


def main() -> int:
    """Download one file; 1 and BusyBox's words when the server refuses."""
    parser = argparse.ArgumentParser(prog="wget")
    parser.add_argument("-q", action="store_true")
    parser.add_argument("-O", dest="output", required=True)
    parser.add_argument("-T", dest="timeout", type=float, default=900.0)
    parser.add_argument("--header", action="append", default=[])
    parser.add_argument("url")
    asked = parser.parse_args()
    headers = dict(one.split(": ", 1) for one in asked.header)
    try:
        request = urllib.request.Request(asked.url, headers=headers)
        with urllib.request.urlopen(request, timeout=asked.timeout) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        sys.stderr.write(f"wget: server returned error: HTTP/1.1 {error.code}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"wget: can't connect to remote host: {error}\n")
        return 1
    if asked.output == "-":
        sys.stdout.buffer.write(body)
    else:
        Path(asked.output).write_bytes(body)
    return 0


if __name__ == "__main__":
    sys.exit(main())
