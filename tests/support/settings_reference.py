"""Writes config/k6d.toml and the manual's page of settings from the models: `make docs`."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from k6d import settings
from k6d.settings import Limit
from k6d.settings.model import ScriptSettings, section_of
from k6d.settings.values import seconds
from support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

CONFIG = ROOT / "config"
UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))

TEMPLATE = Path(__file__).with_name("settings_page.md")


def toml() -> str:
    """config/k6d.toml: its first lines as they are, then every setting."""
    head = (CONFIG / "k6d.toml").read_text().split("\n\n", 1)[0]
    return f"{head}\n\n{_toml_of(settings.Settings)}"


def page() -> str:
    """daemon/docs/settings.md."""
    general = [pair for pair in settings.Settings.model_fields.items() if not _table_of(pair[1])]
    parts = ["## General\n", _rows(general), _examples("")]
    for name, info in settings.Settings.model_fields.items():
        if section := _table_of(info):
            parts += [f"## {name}\n", f"{info.description}\n"]
            parts += [_rows(section.model_fields.items(), f"{name}."), _examples(name)]
    own = _rows(ScriptSettings.model_fields.items())
    template = TEMPLATE.read_text()
    return template.replace("GENERATED\n", "\n".join(parts)).replace("OF_A_SCRIPT\n", own)


FILES: dict[Path, Callable[[], str]] = {
    CONFIG / "k6d.toml": toml,
    ROOT / "daemon/docs/settings.md": page,
}


def _table_of(info: FieldInfo) -> type[BaseModel] | None:
    section = section_of(info)
    return None if section is None or issubclass(section, Limit) else section


def _rows(fields: Iterable[tuple[str, FieldInfo]], prefix: str = "") -> str:
    rows = [f"| `{prefix}{name}` | {_shown(info)} | {info.description} |" for name, info in fields]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _shown(info: FieldInfo) -> str:
    """The default as people read it."""
    default = info.get_default(call_default_factory=True)
    if isinstance(default, float) and any(
        getattr(one, "func", None) is seconds for one in info.metadata
    ):
        if default == 0:
            return "`0`"
        unit, size = next(((u, s) for u, s in UNITS if default >= s), ("ms", 0.001))
        return f"`{default / size:g}{unit}`"
    value = _toml_value(info)
    return "" if value in ('""', "[]", "{}", "null", "") else f"`{value}`"


def _examples(section: str) -> str:
    """The example variables of a section, from config/k6d.env.example."""
    text = (CONFIG / "k6d.env.example").read_text()
    wanted = rf"K6D_{section.upper()}__\w+=" if section else r"K6D_(?!CONFIG)[A-Z]+(?:_[A-Z]+)?="
    found = re.findall(rf"^#({wanted}.*)$", text, re.MULTILINE)
    return "\n".join(["As variables:\n", "```sh", *found, "```", ""])


def _toml_of(model: type[BaseModel]) -> str:
    lines: list[str] = []
    for name, info in model.model_fields.items():
        description = info.description or ""
        if section := _table_of(info):
            lines += ["", f"# {description}"]
            lines += [f"[{name}]", _toml_of(section).rstrip("\n")]
        else:
            lines += textwrap.wrap(
                f"# {description}", 98, subsequent_indent="# ", break_on_hyphens=False
            )
            lines += [f"#{name} = {_toml_value(info)}"]
    return "\n".join(lines) + "\n"


def _toml_value(info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True)
    if isinstance(default, dict) and default:
        return f"{{ {', '.join(f'{name} = {value:g}' for name, value in default.items())} }}"
    if isinstance(default, float):
        return f"{default:g}"
    return json.dumps("" if default is None else default, default=str)


if __name__ == "__main__":
    for path, written in FILES.items():
        path.write_text(written(), encoding="utf-8")
