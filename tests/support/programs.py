"""System programs that some tests use. Without one, its tests are left out, and the end says so.

`program("promtool")` gives the path of a program, or leaves the test out. The last lines of a run
count what was left out and name the command that installs it; `--leave-nothing-out` makes the run
fail then, as `.ci/run` wants it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What Debian's package is called.
PACKAGES = {
    "chromedriver": "chromium chromium-driver",
    "chromium": "chromium chromium-driver",
    "curl": "curl",
    "git": "git",
    "ip": "iproute2",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
    "unshare": "util-linux",
}


def program(name: str) -> str:
    """The path of a program; the test is left out where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"for want of {name} (apt-get install {PACKAGES[name]})")
    return found


def left_out(reasons: Iterable[str]) -> str:
    """The line about tests that were left out: how many, for want of what, and the remedy."""
    parts = [
        f"{count} {'tests' if count > 1 else 'test'} {reason}"
        for reason, count in sorted(Counter(reasons).items())
    ]
    return f"left out: {', '.join(parts)}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that .ci/run sets."""
    parser.addoption(
        "--leave-nothing-out",
        action="store_true",
        help="fail when a test was left out, for want of a program, say",
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Print the line about what was left out, after all others."""
    yield
    if reasons := _reasons(terminalreporter):
        strict = config.getoption("leave_nothing_out")
        terminalreporter.write_line(left_out(reasons), red=strict, yellow=not strict)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if something was left out and nothing may be."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    strict = session.config.getoption("leave_nothing_out")
    if strict and reporter is not None and _reasons(reporter):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def _reasons(reporter: pytest.TerminalReporter) -> list[str]:
    """Why each test was left out."""
    return [
        report.longrepr[2].removeprefix("Skipped: ")
        for report in reporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    ]
