"""The integration script of the original service, played request by request against one daemon.

It sends a token with what runs something; nothing else of the script changed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import hitting
from support.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.serving import Answer
    from support.target import Target

TEST = "/api/v1/test"
RUN_KEYS = {"test_id", "timestamp", "execution_time", "metrics", "anomaly_analysis", "status"}
RESULT_KEYS = RUN_KEYS | {"script_content", "options", "raw_output", "console_output"}
METRICS = {"response_time_avg", "response_time_p95", "error_rate", "requests_per_second"}
METRICS |= {"virtual_users", "total_requests", "duration_ms"}
ANALYSIS = {"anomalies_detected", "severity", "issues", "recommendations", "confidence"}
STATISTICS = {"period_days", "total_tests", "anomaly_tests", "anomaly_rate", "severity_breakdown"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A daemon with its API, as `k6d serve` starts it."""
    made = Served(tmp_path)
    try:
        yield made.start()
    finally:
        made.close()


def test_the_integration_script_of_the_original_passes(served: Served, target: Target) -> None:
    """Health, three runs, a result, history, each filter of search, statistics, errors; in order.

    Result: every answer has the original's fields, and the numbers in it agree with each other.
    """
    target.latency["/slow"], target.status["/broken"] = 0.7, 500

    # 1. The service is up.
    assert served.get("/health").json["status"] == "healthy"
    health = served.get(f"{TEST}/health").json
    assert health["status"] == "healthy"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", health["timestamp"])

    # 2. Nothing has run yet.
    assert _listed(served, "history") == []
    assert served.get(f"{TEST}/statistics").json["total_tests"] == 0

    # 3. A simple script, one that is slow, one whose requests all fail.
    simple = _run(served, hitting(f"{target.url}/"), vus=1, duration="1s")
    slow = _run(served, hitting(f"{target.url}/slow"), vus=2, iterations=2)
    broken = _run(served, hitting(f"{target.url}/broken"), vus=1, iterations=5)
    assert (simple["status"], simple["anomaly_analysis"]["anomalies_detected"]) == (
        "completed",
        False,
    )
    assert simple["metrics"]["total_requests"] == target.requests["GET /"] > 0
    assert broken["metrics"]["error_rate"] == 100
    assert broken["anomaly_analysis"]["severity"] == "critical"
    assert broken["anomaly_analysis"]["issues"]
    assert broken["anomaly_analysis"]["recommendations"]

    # 4. The result of the first.
    result = served.get(f"{TEST}/results/{simple['test_id']}").json
    assert result.keys() >= RESULT_KEYS
    assert result["script_content"] == hitting(f"{target.url}/")
    assert result["options"] == {"vus": 1, "duration": "1s"}
    assert result["metrics"].keys() >= METRICS

    # 5. A script that k6 refuses is an answer, and a failed run.
    refused = _post(served, "export default function ( {", vus=1)
    assert refused.status == 422
    assert "Unexpected end of input" in refused.json["detail"]

    # 6. History, the newest first; a limit.
    runs = [refused.json["test_id"], *(one["test_id"] for one in (broken, slow, simple))]
    assert _listed(served, "history") == runs
    assert _listed(served, "history?limit=2") == runs[:2]
    for row in served.get(f"{TEST}/history").json["tests"]:
        assert row.keys() >= RUN_KEYS
        assert row["anomaly_analysis"].keys() >= ANALYSIS

    # 7. Search by each filter, and by all of them.
    for asked, expected in {
        "anomalies_only=true": runs[:2],
        "anomalies_only=false": runs,
        "min_error_rate=5.0": [broken["test_id"]],
        "min_error_rate=0": runs[1:],
        "max_response_time=600": [one for one in runs[1:] if one != slow["test_id"]],
        "max_response_time=60000": runs[1:],
        "limit=1": runs[:1],
        "anomalies_only=true&min_error_rate=50&max_response_time=600&limit=5": [broken["test_id"]],
        "anomalies_only=true&max_response_time=0": [],
    }.items():
        assert _listed(served, f"search?{asked}") == expected, asked

    # 8. Statistics count the same runs.
    statistics = served.get(f"{TEST}/statistics?days=7").json
    assert statistics.keys() >= STATISTICS
    counted = [statistics[name] for name in ("period_days", "total_tests", "anomaly_tests")]
    assert counted == [7, 4, 2]
    assert statistics["anomaly_rate"] == 0.5
    assert statistics["severity_breakdown"] == {"critical": 1, "high": 1}

    # 9. Requests that are wrong get a status and a sentence.
    for status, answer in (
        (404, served.get(f"{TEST}/results/no-such-run")),
        (404, served.get("/api/v1/nothing")),
        (405, served.ask("DELETE", f"{TEST}/history", token=True)),
        (401, served.post(f"{TEST}/run", {"script": hitting(target.url)}, token=False)),
        (422, served.post(f"{TEST}/run", {"options": {"vus": 1}})),
        (422, _post(served, "short")),
        (422, _post(served, hitting(target.url), vus=0)),
        (422, _post(served, hitting(target.url), duration="soon")),
        (422, served.get(f"{TEST}/history?limit=0")),
        (422, served.get(f"{TEST}/statistics?days=0")),
    ):
        assert answer.status == status, answer.text
        assert answer.json["detail"]
    assert _listed(served, "history") == runs


def _post(served: Served, script: str, **options: Any) -> Answer:
    return served.post(f"{TEST}/run", {"script": script, "options": options})


def _run(served: Served, script: str, **options: Any) -> dict[str, Any]:
    answer = _post(served, script, **options)
    assert answer.status == 200, answer.text
    made: dict[str, Any] = answer.json
    assert made.keys() >= RUN_KEYS
    assert made["metrics"].keys() >= METRICS
    assert made["anomaly_analysis"].keys() >= ANALYSIS
    return made


def _listed(served: Served, asked: str) -> list[str]:
    found = served.get(f"{TEST}/{asked}")
    assert found.status == 200, found.text
    assert found.json["total_count"] == len(found.json["tests"])
    return [row["test_id"] for row in found.json["tests"]]
