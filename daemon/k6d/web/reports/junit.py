"""Writes a run as JUnit XML for CI systems: a test case for each threshold, check and limit."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from k6d.core.model import INCONCLUSIVE, FindingKind, Outcome
from k6d.core.numbers import against_threshold
from k6d.core.text import group

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from k6d.core.model import Finding, Run

    # Kind and name of a case, the problem, and the finding that includes it.
    _Told = tuple[str, str, str, Finding | None]

# XML 1.0 cannot escape these characters, but scripts may use them in names.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NOT_RUN = (
    *(Outcome.SCRIPT_ERROR, Outcome.ABORTED, Outcome.NO_DATA, Outcome.INCOMPLETE),
    *INCONCLUSIVE,
)


def write_junit(run: Run) -> str:
    """Return the document. A run that could not be judged is an error; a finding is a failure.

    Crossed thresholds and failed checks without a finding are listed in system-out.
    """
    return write_junit_of([run])


def write_junit_of(runs: Sequence[Run], not_run: Mapping[str, str] | None = None) -> str:
    """Return one document for several runs; `not_run` maps scripts without a run to the reason."""
    root = ET.Element("testsuites")
    for number, run in enumerate(runs):
        root.append(_suite(run, number))
    for number, (script, why) in enumerate((not_run or {}).items(), len(runs)):
        root.append(_suite_without_run(script, why, number))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite_without_run(script: str, why: str, number: int) -> ET.Element:
    suite = ET.Element("testsuite")
    _add(_case(suite, "run", "k6 runs the script"), "error", why, kind="not run")
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    about = {"name": _clean(script), "timestamp": now, "hostname": "localhost", "tests": "1"}
    counts = {"failures": "0", "errors": "1", "skipped": "0", "time": "0"}
    suite.attrib.update(about | counts | {"id": str(number), "package": "k6d"})
    suite.insert(0, ET.Element("properties"))
    for stream in ("system-out", "system-err"):
        ET.SubElement(suite, stream).text = ""
    return suite


def _suite(run: Run, number: int) -> ET.Element:
    suite = ET.Element("testsuite")
    _execution(suite, run)
    not_counted = _judged(suite, run)
    cases = suite.findall("testcase")
    suite.attrib.update(
        {
            "name": _clean(run.script),
            "timestamp": f"{run.timestamp:%Y-%m-%dT%H:%M:%S}",
            "hostname": _clean(run.execution.machine.partition(",")[0] or "localhost"),
            "tests": str(len(cases)),
            "failures": str(sum(case.find("failure") is not None for case in cases)),
            "errors": str(sum(case.find("error") is not None for case in cases)),
            "skipped": "0",
            "time": f"{run.execution_time:.3f}",
            "id": str(number),
            "package": "k6d",
        }
    )
    _properties(suite, run)
    ET.SubElement(suite, "system-out").text = _clean(not_counted + run.output.head)
    ET.SubElement(suite, "system-err").text = _clean(run.log.head)
    return suite


def _execution(suite: ET.Element, run: Run) -> None:
    case = _case(suite, "run", "k6 runs the script")
    case.set("time", f"{run.execution_time:.3f}")
    ended = run.execution
    if ended.outcome in NOT_RUN and not (ended.cut_by_threshold or ended.cut_by_k6d):
        why = run.execution.error or run.execution.outcome.value
        _add(case, "error", why, kind=run.execution.outcome.value)


def _judged(suite: ET.Element, run: Run) -> str:
    """Add a case for each threshold, check and finding; return the failures without a finding."""
    verdict, not_counted = run.anomaly_analysis, ""
    findings = list(verdict.findings) if verdict.anomalies_detected else []
    for kind, name, wrong, found in (*_thresholds(run), *_checks(run)):
        case = _case(suite, kind, name)
        if found:
            _add(case, "failure", wrong, kind=kind)
            findings = [finding for finding in findings if finding is not found]
        elif wrong:
            not_counted += f"{kind} {name}: {wrong}, which the verdict does not count\n"
    for finding in findings:
        _finding(suite, finding)
    if verdict.anomalies_detected and not verdict.findings:
        case = _case(suite, "verdict", verdict.severity or "anomalous")
        _add(case, "failure", "\n".join(verdict.issues), kind="verdict")
    return not_counted


def _thresholds(run: Run) -> Iterator[_Told]:
    found = {
        (f.metric, f.expected): f
        for f in run.anomaly_analysis.findings
        if f.kind is FindingKind.THRESHOLD
    }
    for one in run.thresholds:
        seen = ""
        if one.observed is not None:
            seen = f", observed {against_threshold(one.observed, one.expression)}"
        finding = found.get((one.metric, one.expression)) if one.crossed else None
        name = f"{one.metric}: {one.expression}"
        yield "threshold", name, f"crossed{seen}" if one.crossed else "", finding


def _checks(run: Run) -> Iterator[_Told]:
    found = (f for f in run.anomaly_analysis.findings if f.kind is FindingKind.CHECKS)
    finding = next(found, None)
    for one in run.checks:
        wrong = f"{one.fails} of {one.passes + one.fails} failed" if one.fails else ""
        yield "check", group(one.group, one.name), wrong, finding if wrong else None


def _finding(suite: ET.Element, finding: Finding) -> None:
    name = " of ".join(filter(None, (finding.metric, finding.endpoint)))
    case = _case(suite, "finding", f"{finding.kind.value}: {name}" if name else finding.kind.value)
    text = f"{finding.message}\n{finding.recommendation}"
    _add(case, "failure", text, kind=finding.severity.value)


def _case(suite: ET.Element, kind: str, name: str) -> ET.Element:
    return ET.SubElement(
        suite,
        "testcase",
        {"classname": f"k6.{kind}", "name": _clean(name).strip() or "(no name)", "time": "0"},
    )


def _add(case: ET.Element, tag: str, text: str, *, kind: str) -> None:
    clean = _clean(text)
    node = ET.SubElement(case, tag, {"message": clean.partition("\n")[0], "type": kind})
    node.text = clean


def _properties(suite: ET.Element, run: Run) -> None:
    values = {
        "test_id": run.test_id,
        "trigger": run.trigger.value,
        "outcome": run.execution.outcome.value,
        "severity": run.anomaly_analysis.severity or "",
        "requests": run.judged.total_requests,
        "response_time_avg_ms": run.judged.response_time_avg,
        "response_time_p95_ms": run.judged.response_time_p95,
        "error_rate_percent": run.judged.error_rate,
    }
    node = ET.Element("properties")
    for name, value in values.items():
        if value is not None:
            ET.SubElement(node, "property", {"name": name, "value": _clean(str(value))})
    suite.insert(0, node)


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
