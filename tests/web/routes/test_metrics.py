"""/metrics: promtool's lint, a real Prometheus that scrapes it, bounds; k6's pushes forwarded."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import orjson
import pytest

from k6d.web.routes.exposition import MOST_ENDPOINTS, MOST_LABEL, Facts, endpoints_of, exposition
from support.daemon import hitting, until
from support.paths import ROOT
from support.programs import program
from support.prometheus import prometheus, query
from support.records import make_run
from support.serving import Served, free_port, small_script

if TYPE_CHECKING:
    from pathlib import Path

    from support.target import Target


def lint(text: str) -> str:
    """What promtool has to say."""
    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def until_counted(served: Served) -> None:
    """Wait for the count of runs, which comes after their record; verdicts begin at 0."""
    counted = re.compile(r'^k6d_runs_total\{verdict="\w+"\} 1\.0$', re.MULTILINE)
    served.until(lambda: counted.search(served.get("/metrics").text), "the run to be counted")


def test_a_real_prometheus_scrapes_it(served: Served, target: Target, tmp_path: Path) -> None:
    """Values of the last run arrive under their names and labels; promtool has no complaint."""
    served.start()
    served.write('na"me\\.js', hitting(f"{target.url}/a", iterations=5))
    run = served.run('na"me\\.js')
    until_counted(served)
    text = served.get("/metrics").text
    assert lint(text) == ""
    config = f"""
global: {{ scrape_interval: 1s }}
scrape_configs: [{{ job_name: k6d, static_configs: [{{ targets: ["127.0.0.1:{served.port}"] }}] }}]
"""
    with prometheus(tmp_path / "prometheus", config) as url:
        found = until(lambda: query(url, "k6d_script_requests"), "a scrape")
        assert found[0]["metric"]["script"] == 'na"me\\.js'
        assert float(found[0]["value"][1]) == 5
        p95 = query(url, "k6d_script_response_time_p95_seconds * 1000")[0]["value"][1]
        assert float(p95) == pytest.approx(run.metrics.response_time_p95)
        endpoint = query(url, "k6d_endpoint_requests")[0]["metric"]
        assert (endpoint["method"], endpoint["endpoint"]) == ("GET", f"{target.url}/a")
        assert query(url, "up")[0]["value"][1] == "1"


def test_pushes_are_forwarded(served: Served, target: Target, tmp_path: Path) -> None:
    """With forward.url k6's own metrics are in the user's Prometheus, told apart by run."""
    flags = ("--web.enable-remote-write-receiver", "--enable-feature=native-histograms")
    with prometheus(tmp_path / "prometheus", "global: {}\n", *flags) as url:
        served.start(K6D_FORWARD__URL=f"http://{url}/api/v1/write")
        served.write("a.js", hitting(f"{target.url}/a", iterations=7))
        run = served.run("a.js")
        name = f'k6_http_reqs_total{{testid="{run.test_id}", script="a.js"}}'
        found = until(lambda: query(url, name), "the forwarded series")
        assert float(found[0]["value"][1]) == 7
        assert run.metrics.total_requests == run.breakdown.endpoints[0].count == 7


def test_forwarding_to_nobody_disturbs_nothing(served: Served, target: Target) -> None:
    """A receiver that is down costs a warning; the run has all its numbers."""
    served.start(K6D_FORWARD__URL=f"http://127.0.0.1:{free_port()}/secret/write")
    served.write("a.js", hitting(f"{target.url}/a", iterations=3))
    assert served.run("a.js").breakdown.endpoints[0].count == 3
    served.until_logged("pushes of k6's metrics were not forwarded")
    assert "secret" not in served.log


def test_cardinality_is_bounded() -> None:
    """Endpoints beyond the busiest are left out, long names are cut, hostile ones escaped."""
    run = orjson.loads(orjson.dumps(make_run()))
    row = run["breakdown"]["endpoints"][0] if run["breakdown"]["endpoints"] else None
    assert row is not None
    run["breakdown"]["endpoints"] = [
        row | {"name": f'{"x" * 300}"\n\\{i}'} for i in range(3 * MOST_ENDPOINTS)
    ]
    rows = endpoints_of(run)
    assert len(rows) == MOST_ENDPOINTS
    text = exposition(Facts(last=[], endpoints={"x": rows[:1]})).decode()
    assert "endpoint" not in text
    document = {
        "test_id": "x",
        "script": "s" * 400,
        "timestamp": "2026-11-22T12:00:00Z",
        "execution_time": 1.0,
        "anomalies": True,
        "severity": "critical",
        "status": "failed",
        "response_time_avg": None,
        "response_time_p95": None,
        "error_rate": 50.0,
        "total_requests": None,
        "requests_per_second": None,
        "virtual_users": None,
    }
    twin = document | {"script": "s" * 400 + "2"}
    text = exposition(Facts(last=[document, twin], endpoints={"x": rows[:1]})).decode()
    assert lint(text) == ""
    series = [line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"]
    assert len(series) == len(set(series))
    assert max(len(line) for line in text.splitlines()) < 3 * MOST_LABEL
    assert f'k6d_script_severity{{script="{"s" * (MOST_LABEL - 9)}…' in text
    assert 'k6d_runs_total{verdict="healthy"} 0.0' in text
    assert "k6d_script_response_time" not in text


def test_the_configuration_examples_hold(served: Served, target: Target) -> None:
    """promtool takes prometheus.yml with its rules; every metric in them and in the Grafana
    dashboard is one we expose.
    """

    config = ROOT / "config"
    done = subprocess.run(
        [program("promtool"), "check", "config", config / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    served.start()
    served.write("a.js", small_script(target.url))
    served.run("a.js")
    until_counted(served)
    exposed = set(re.findall(r"^# TYPE (\w+)", served.get("/metrics").text, re.MULTILINE))
    dashboard = orjson.loads((config / "grafana-dashboard.json").read_bytes())
    rules = (config / "prometheus-rules.yml").read_text()
    expressions = "".join(re.findall(r"expr: (.*)", rules))
    for text in (orjson.dumps(dashboard).decode(), expressions):
        used = set(re.findall(r"k6d_\w+", text))
        assert used
        assert used <= exposed
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_alert_rules_fire(tmp_path: Path) -> None:
    """promtool plays a day: k6d is down, an incident opens, a message waits, a queue stands."""
    (tmp_path / "prometheus-rules.yml").write_text(
        (ROOT / "config/prometheus-rules.yml").read_text()
    )
    (tmp_path / "tests.yml").write_text(RULE_TESTS)
    done = subprocess.run(
        [program("promtool"), "test", "rules", tmp_path / "tests.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


RULE_TESTS = """
rule_files: [prometheus-rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'up{job="k6d", instance="a"}', values: '1x5 0x20'}
      - {series: 'k6d_open_incidents{severity="high", instance="a"}', values: '0x5 2x20'}
      - {series: 'k6d_open_incidents{severity="critical", instance="a"}', values: '0x5 1x20'}
      - {series: 'k6d_open_incidents{severity="low", instance="a"}', values: '1x30'}
      - {series: 'k6d_messages{state="waiting", instance="a"}', values: '1x70'}
      - {series: 'k6d_queue_jobs{instance="a"}', values: '3x70'}
      - {series: 'k6d_running_jobs{instance="a"}', values: '1x10 0x60'}
      - {series: 'k6d_script_severity{script="shop.js"}', values: '0x5 3x20'}
    alert_rule_test:
      - eval_time: 20m
        alertname: K6dDown
        exp_alerts:
          - exp_labels: {severity: critical, job: k6d, instance: a}
            exp_annotations:
              summary: k6d at a does not answer
              description: "No load test runs. Look at its log: journalctl -u k6d"
      - eval_time: 4m
        alertname: K6dOpenIncident
      - eval_time: 7m
        alertname: K6dOpenIncident
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations:
              summary: "open incidents in k6d, high or critical: 3"
              description: k6d incidents lists them, worst first.
      - eval_time: 7m
        alertname: K6dScriptFailing
        exp_alerts:
          - exp_labels: {severity: warning, script: shop.js}
            exp_annotations:
              summary: shop.js fails
              description: k6d show shop.js says what is wrong and since when.
      - eval_time: 30m
        alertname: K6dQueueStuck
      - eval_time: 45m
        alertname: K6dQueueStuck
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations:
              summary: "jobs that wait in k6d while none runs: 3"
              description: The page Queue, or k6d queue, says why nothing starts.
      - eval_time: 65m
        alertname: K6dMessagesNotDelivered
        exp_alerts:
          - exp_labels: {severity: warning, state: waiting, instance: a}
            exp_annotations:
              summary: "messages of k6d that are waiting: 1"
              description: k6d outbox shows which receiver does not take them, and why.
"""
