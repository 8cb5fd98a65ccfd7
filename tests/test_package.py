"""The package: what is in the wheel and the source archive, and its version."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import k6d
from support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_wheel_and_source_archive_hold_the_manual(tmp_path: Path) -> None:
    """Both have every page; the wheel has them where `k6d help` looks, and a type marker."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob(f"k6d-{k6d.__version__}-*.whl")
    (source,) = tmp_path.glob(f"k6d-{k6d.__version__}.tar.gz")
    pages = {page.name for page in (ROOT / "daemon/docs").glob("*.md")}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = next(name for name in names if name.endswith("/METADATA"))
        assert "# k6d, the k6 daemon" in archive.read(metadata).decode()
    assert {f"k6d/docs/{page}" for page in pages} | {"k6d/py.typed"} <= names
    assert any(name.endswith("share/k6d/systemd/k6d.service") for name in names)
    with tarfile.open(source) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    needed = {f"daemon/docs/{page}" for page in pages} | {
        "requirements.lock",
        "Makefile",
        "LICENSE",
    }
    assert needed <= inside


def test_the_changelog_begins_with_this_version() -> None:
    """What users get is written down under the version that they get."""
    versions = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert k6d.__version__ in versions[:2]  # "Unreleased" may stand above it
