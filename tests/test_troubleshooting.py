"""The messages on the page "troubleshooting" are those of the code."""

from __future__ import annotations

import ast
import itertools
import re

from support.paths import ROOT

PAGE = (ROOT / "daemon/docs/troubleshooting.md").read_text()
MESSAGES = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+)[^|]* \|", PAGE, re.MULTILINE)
PLACEHOLDER = "\0"
NAME_SEEN_REMEDY = 3  # the arguments of a check that has a remedy


def _texts() -> list[str]:
    """Every text of the package; what is filled in later is a zero byte."""
    texts = []
    for path in sorted((ROOT / "daemon/k6d").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts += map("".join, itertools.product(*map(_choices, node.values)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def _choices(part: ast.expr) -> list[str]:
    """The texts that this part of an f-string may have."""
    value = part.value if isinstance(part, ast.FormattedValue) else part
    branches = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
    return [str(one.value) if isinstance(one, ast.Constant) else PLACEHOLDER for one in branches]


def test_every_message_exists() -> None:
    """A message that was changed in the code is changed on the page."""
    texts, unknown = _texts(), []
    for message in re.findall(r"`([^`]+)`", "".join(MESSAGES)):
        wanted = re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)
        if not any(wanted.search(text) for text in texts):
            unknown.append(message)
    assert unknown == []


def test_every_check_of_doctor_is_on_the_page() -> None:
    """Each remedy of `k6d doctor` belongs to a message in the first table: they are as many."""
    problems = [
        node
        for name in ("doctor", "cluster_checks", "cluster_probe", "target_checks")
        for node in ast.walk(ast.parse((ROOT / f"daemon/k6d/cli/{name}.py").read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("problem", "fine")
        and len(node.args) == NAME_SEEN_REMEDY
    ]
    (table,) = re.findall(r"## What doctor reports\n(.*?)\n## ", PAGE, re.DOTALL)
    assert table.count("\n| `") >= len(problems) > 10
