"""Read the records of the original service from any of its forms.

The forms are a SQLite file with the table `test_runs`, a JSON backup, a folder of JSON backups, and
a TinyDB file. Every record is returned in the shape of a backup: `metrics` and `anomaly_analysis`
are objects. Nothing is written. A damaged source is refused before the first record is returned.
"""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from k6d.core.errors import K6dError, reason
from k6d.core.metrics import ORIGINAL
from k6d.core.reading import open_regular
from k6d.storage.data_folder import is_of_k6d

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANALYSIS = ("anomalies_detected", "severity", "issues", "recommendations", "confidence")
SQLITE = b"SQLite format 3\0"
WAL_HEADER = slice(18, 20)  # both bytes are 2 in WAL mode (https://www.sqlite.org/fileformat2.html)
TABLE = "test_runs"
NEEDED = {"test_id", "timestamp"}
BATCH = 100  # rows of one read; the file's owner can write between reads
LOCK_WAIT_S = 20.0
MOST_BACKUP_BYTES = 64 << 20  # a record with k6's whole output has a few MiB
LARGEST_INTEGER = 1 << 63
REFUSED = "nothing was taken over"

Record = dict[str, Any]
# The place of a record, such as "test_runs row 7", and the record or the reason why it is refused.
Found = tuple[str, Record | str]


def read(source: Path) -> Iterator[Found]:
    """Every record of the file or folder.

    K6dError when the source is damaged or does not come from the original service.
    """
    try:
        if source.is_dir():
            return _folder(source)
        with open_regular(source) as file:
            is_sqlite = file.read(len(SQLITE)) == SQLITE
    except OSError as error:
        raise K6dError(f"{source}: cannot be read: {reason(error)}") from None
    return _sqlite(source) if is_sqlite else _json(source)


def _sqlite(file: Path) -> Iterator[Found]:
    """The rows of `test_runs`; read-only, and possible while the file's owner has it open."""
    try:
        _check(file)
    except sqlite3.Error as error:
        raise K6dError(_sqlite_refusal(file, error)) from None
    return _rows(file)


def _connected(file: Path) -> sqlite3.Connection:
    mode = "immutable=1" if _is_at_rest(file) else "mode=ro"
    place = f"file:{quote(str(file.absolute()))}?{mode}"
    connection = sqlite3.connect(place, uri=True, timeout=LOCK_WAIT_S)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda data: data.decode(errors="replace")
    return connection


def _is_at_rest(file: Path) -> bool:
    """Whether a file in WAL mode has no -wal file, so that no process has it open.

    Without `immutable=1` SQLite would create the -wal and -shm files and leave them there; in a
    read-only folder it would refuse to read.
    """
    with file.open("rb") as opened:
        header = opened.read(WAL_HEADER.stop)
    return header[WAL_HEADER] == b"\2\2" and not file.with_name(f"{file.name}-wal").exists()


def _check(file: Path) -> None:
    """K6dError or sqlite3.Error when the file is damaged or lacks the table `test_runs`."""
    with closing(_connected(file)) as connection:
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise K6dError(f"{file}: is damaged ({damage}); {REFUSED}")
        columns = {row["name"] for row in connection.execute(f"PRAGMA table_info({TABLE})")}
    if not columns:
        raise K6dError(f"{file}: has no table {TABLE}, so it is not the original's; {REFUSED}")
    if missing := sorted(NEEDED - columns):
        raise K6dError(f"{file}: its table {TABLE} has no column {missing[0]}; {REFUSED}")


def _sqlite_refusal(file: Path, error: sqlite3.Error) -> str:
    if "locked" in str(error):
        return f"{file}: its owner writes into it all the time ({error}); try again; {REFUSED}"
    if "readonly" in str(error) or "unable to open" in str(error):
        return (
            f"{file}: SQLite cannot open it read-only ({error}); copy it with its -wal and "
            f"-journal files to a folder that you can write, and import the copy; {REFUSED}"
        )
    return f"{file}: cannot be read as SQLite ({error}); {REFUSED}"


def _rows(file: Path) -> Iterator[Found]:
    query = f"SELECT rowid AS _row, * FROM {TABLE} WHERE rowid > ? ORDER BY rowid LIMIT {BATCH}"  # noqa: S608  (constants)
    last = -(1 << 63)
    try:
        with closing(_connected(file)) as connection:
            while rows := connection.execute(query, (last,)).fetchall():
                last = rows[-1]["_row"]
                for row in rows:
                    yield f"{TABLE} row {row['_row']}", _record_of(dict(row))
    except sqlite3.Error as error:
        raise K6dError(_sqlite_refusal(file, error)) from None


def _record_of(row: Record) -> Record:
    """A row as a record; columns that hold JSON are decoded."""
    row = {name: _number(value) for name, value in row.items()}
    analysis = {name: row.get(name) for name in ANALYSIS}
    for name in ("issues", "recommendations"):
        analysis[name] = _list(_decoded(analysis[name]))
    return {
        **row,
        "metrics": {name: row.get(name) for name in ORIGINAL},
        "anomaly_analysis": analysis,
        "options": _decoded(row.get("test_options")),
        "raw_output": _decoded(row.get("raw_output")),
    }


def _decoded(value: object) -> object:
    """The decoded JSON; a text that is no JSON, and any other value, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return _loads(value)
    except (ValueError, RecursionError):
        return value


def _list(value: object) -> list[str]:
    """A list of texts; the original service may have stored a single issue as a text."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return [str(value)] if value else []


def _json(file: Path) -> Iterator[Found]:
    """The records of a TinyDB file or of one JSON backup."""
    try:
        found = list(_in_document(_loads(file.read_bytes())))
    except (ValueError, RecursionError) as error:
        raise K6dError(_json_refusal(file, str(error))) from None
    if found and not any(isinstance(record, dict) for _, record in found):
        raise K6dError(_json_refusal(file, "no record in it"))
    return iter(found)


def _json_refusal(file: Path, why: str) -> str:
    return (
        f"{file}: is neither an archive of 'k6d export' nor data of the original service: a "
        f"SQLite file, a folder of its JSON backups, a TinyDB file ({why}); {REFUSED}"
    )


def _folder(folder: Path) -> Iterator[Found]:
    """The records of the JSON backups below a folder; K6dError when there is none.

    The folder may also be k6d's data folder (K6_RESULTS_DIR); the files that k6d made are left out.
    """
    files = sorted(
        path
        for path in folder.rglob("*.json")
        if path.is_file() and not is_of_k6d(path, below=folder)
    )
    if not any(isinstance(record, dict) for file in files for _, record in _backup(file, folder)):
        raise K6dError(f"{folder}: holds no JSON backup of the original service; {REFUSED}")
    return (found for file in files for found in _backup(file, folder))


def _backup(file: Path, folder: Path) -> Iterator[Found]:
    name = str(file.relative_to(folder))
    try:
        if file.stat().st_size > MOST_BACKUP_BYTES:
            yield name, f"is larger than {MOST_BACKUP_BYTES >> 20} MiB"
            return
        for place, record in _in_document(_loads(file.read_bytes())):
            yield f"{name} {place}".rstrip(), record
    except (ValueError, RecursionError) as error:
        yield name, f"is no record of the original service ({error})"
    except OSError as error:
        yield name, f"cannot be read: {reason(error)}"


def _in_document(document: object) -> Iterator[Found]:
    """The records of a JSON document; ValueError when it holds none.

    The document is one record, a list of records, {"tests": list}, or TinyDB's
    {table: {number: record}}.
    """
    if isinstance(document, dict) and "test_id" in document:
        yield "", _record_or_reason(document)
        return
    listed = document.get("tests") if isinstance(document, dict) else document
    if isinstance(listed, list) and listed:
        for number, record in enumerate(listed, 1):
            yield f"record {number}", _record_or_reason(record)
        return
    if not isinstance(document, dict) or not all(isinstance(t, dict) for t in document.values()):
        raise ValueError("no record in it")
    for table, records in document.items():
        for number, record in records.items():
            yield f"{table}/{number}", _record_or_reason(record)


def _record_or_reason(record: object) -> Record | str:
    if isinstance(record, dict) and "test_id" in record:
        return record if "metrics" in record else _record_of(record)
    return "is no record: it has no test_id"


def _loads(data: bytes | str) -> object:
    """The decoded JSON; NaN and infinite numbers become None: they were not measured."""
    return json.loads(data, parse_constant=lambda _: None, parse_float=_finite, parse_int=_whole)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _whole(text: str) -> int | float | None:
    """The integer; as a float when it needs more than 64 bits, which a run file cannot hold."""
    if len(text) > len(str(LARGEST_INTEGER)) or abs(int(text)) >= LARGEST_INTEGER:
        return _finite(text)
    return int(text)


def _number(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
