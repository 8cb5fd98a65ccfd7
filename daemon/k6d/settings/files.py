"""Read where settings are written: `.env`, the credentials of systemd, and the TOML file.

Nothing is validated here, so pydantic is not imported. `folders` gives commands that only look at
stored results the two folders in 10 ms; `sources.load` takes 0.2 s.
"""

from __future__ import annotations

import os
import tomllib
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k6d.core.errors import K6dError
from k6d.core.frozen import frozen
from k6d.core.parse import absolute, expanded

if TYPE_CHECKING:
    from collections.abc import Mapping

ORIGINAL_NAMES = {
    "K6_RESULTS_DIR": "data",
    "K6_TIMEOUT": "k6__timeout",
    "GEMINI_API_KEY": "ai__api_key",
    "AI_MODEL": "ai__model",
    "AI_TEMPERATURE": "ai__temperature",
    "HOST": "api__host",
    "PORT": "api__port",
    "LOG_LEVEL": "log_level",
    "DEBUG": "debug",
}
PATHS = (
    "scripts",
    "data",
    "log_file",
    "k6.path",
    "k6.config",
    "kubernetes.kubeconfig",
    "notify.config",
)

DEFAULT_SCRIPTS, DEFAULT_DATA = Path("scripts"), Path("k6d-data")


@frozen
class Folders:
    """The folder of the scripts and that of the results; `config` is the `--config` given."""

    scripts: Path
    data: Path
    config: Path | None = None


def folders(
    config: Path | None = None, *, scripts: Path | None = None, data: Path | None = None
) -> Folders:
    """Return the folders that `sources.load` would give; other settings are not looked at.

    ValueError if a folder is not a path; `sources.load` names the mistake. K6dError if a file
    cannot be read.
    """
    dotenv = read_dotenv(Path(".env"), [])
    _, table = read_toml(config, os.environ.get("K6D_CONFIG") or dotenv.get("K6D_CONFIG"))
    written: list[Mapping[str, str | None]] = [
        _lower(os.environ, "K6D_"),
        _lower(dotenv, "K6D_"),
        {"data": os.environ.get("K6_RESULTS_DIR") or None},
        {"data": dotenv.get("K6_RESULTS_DIR") or None},
        _lower(read_credentials(), ""),
    ]
    return Folders(
        scripts=_first(scripts, *(s.get("scripts") for s in written), table.get("scripts"))
        or absolute(DEFAULT_SCRIPTS),
        data=_first(data, *(s.get("data") for s in written), table.get("data"))
        or absolute(DEFAULT_DATA),
        config=config,
    )


def _lower(names: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix).lower(): text
        for name, text in names.items()
        if name.startswith(prefix) and text
    }


def _first(*given: object) -> Path | None:
    """Return the first path that is given; ValueError if it is not one."""
    found = next((one for one in given if one is not None), None)
    if found is None:
        return None
    if not isinstance(found, str | Path):
        raise ValueError("should be a path")  # noqa: TRY004  (like the other mistakes of values)
    return absolute(Path(found))


def read_dotenv(file: Path, warnings: list[str]) -> dict[str, str]:
    """The non-empty variables of `file`; adds a warning for each line that does not parse."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise K6dError(f"{file}: cannot be read: {_reason(error)}; mend or remove it") from None
    from dotenv.parser import parse_stream  # many have no .env, and the import takes 10 ms

    found = {}
    for entry in parse_stream(StringIO(text)):
        if entry.error:
            place = f"{file}: line {entry.original.line}"
            warnings.append(
                f"{place} is ignored, should be NAME=value, or NAME='value' with blanks"
            )
        elif entry.key and entry.value:
            found[entry.key] = entry.value
    return found


def read_credentials() -> dict[str, str]:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    texts = {}
    try:
        for file in sorted(Path(folder).iterdir()) if folder else ():
            if file.is_file() and not file.name.startswith("."):
                texts[file.name] = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise K6dError(f"credentials in {folder}: cannot be read: {_reason(error)}") from None
    if empty := [name for name, text in texts.items() if not text]:
        raise K6dError(f"credential {empty[0]}: is empty; write its value into it or remove it")
    return texts


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "no access") if isinstance(error, OSError) else "it is not UTF-8 text"


def read_toml(config: Path | None, variable: str | None) -> tuple[Path | None, dict[str, Any]]:
    """The configuration file and its table; (None, {}) when there is none.

    Relative paths in the file are relative to the file's folder.
    """
    named = config or (Path(variable) if variable else None)
    home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config")
    usual = (Path("k6d.toml"), home / "k6d/k6d.toml", Path("/etc/k6d/k6d.toml"))
    for file in (expanded(path).absolute() for path in ((named,) if named else usual)):
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise K6dError(f"{file}: cannot be read: {_reason(error)}") from None
        except ValueError as error:  # TOMLDecodeError, or a number with too many digits
            hint = 'texts need quotes, such as grace = "30s"; a table stands in one place'
            raise K6dError(f"{file}: not valid TOML: {error}; {hint}") from None
        for section, _, name in (key.rpartition(".") for key in PATHS):
            inner = table.get(section) if section else table
            if isinstance(inner, dict) and isinstance(path := inner.get(name), str) and path:
                inner[name] = file.parent / expanded(Path(path))
        return file, table
    if named:
        origin = "--config" if config else "K6D_CONFIG"
        raise K6dError(f"{origin}: there is no file {named}; name another or create it")
    return None, {}
