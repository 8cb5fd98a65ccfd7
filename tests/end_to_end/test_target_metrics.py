"""The target's own numbers, from a real Prometheus that scrapes it while the real k6 loads it."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from support.daemon import lasting, until
from support.prometheus import prometheus, query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from k6d.core.model import Run
    from support.serving import Served
    from support.target import Target

TOKEN = "s3cr3t-Pr0m-t0k3n"
SECONDS = 5
METRICS = [
    {"title": "rate at the target", "query": "rate(shop_requests_total[3s])", "unit": "/s"},
    {
        "title": "requests that came",
        "query": "max_over_time(shop_requests_total[$duration])",
        "value": "last",
    },
    {"title": "two series", "query": "shop_pages"},
    {"title": "no PromQL", "query": "rate("},
    {"title": "another script", "query": "up", "scripts": ["other/*"]},
]


@contextmanager
def exporting(target: Target) -> Iterator[str]:
    """What the target counts, as a Prometheus reads it; host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = f"""# TYPE shop_requests_total counter
shop_requests_total {sum(target.requests.values())}
# TYPE shop_pages gauge
shop_pages{{page="a"}} 1
shop_pages{{page="b"}} 2
"""
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Nothing on the console."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def measured(served: Served, script: str) -> Run:
    """The first run of the script with its numbers; it is saved without them before."""
    served.run(script)
    served.until(lambda: served.runs(script)[0].target, "the target's own numbers")
    return served.runs(script)[0]


def test_they_stand_beside_the_run_and_are_absent_when_prometheus_is(
    served: Served, target: Target, tmp_path: Path
) -> None:
    """Numbers on the axis of the run in its record, on its page and in the terminal; then none.

    1. A run of five seconds: the target counted nearly what k6 sent; two wrong queries are notes.
    2. The Prometheus ends; the next run is healthy and fast, with a note.
    3. The token is nowhere: not in the runs, not in the log, and the script does not get it.
    """
    printing = "export function setup() { console.log(JSON.stringify(__ENV)); }"
    with exporting(target) as exporter:
        config = f"""
global: {{ scrape_interval: 500ms, scrape_timeout: 500ms }}
scrape_configs: [{{ job_name: shop, static_configs: [{{ targets: ["{exporter}"] }}] }}]
"""
        with prometheus(tmp_path / "prometheus", config) as url:
            served.start(
                K6D_METRICS=json.dumps(METRICS),
                K6D_PROMETHEUS__URL=f"http://{url}",
                K6D_PROMETHEUS__TOKEN=TOKEN,
                K6D_PROMETHEUS__DELAY="1s",
                K6D_K6__ENV='{"WORD": "in-the-environment"}',
            )
            until(lambda: query(url, "rate(shop_requests_total[3s])"), "two scrapes")
            served.write("shop.js", lasting(f"{target.url}/a", seconds=SECONDS, more=printing))
            run = measured(served, "shop.js")
    sent = run.metrics.total_requests
    rate, came, two, none = run.target
    assert sent is not None and came.value is not None and rate.value is not None
    # Those after the last scrape of the run are not known.
    assert 0.5 * sent < came.value <= target.requests["GET /a"]
    assert 0.3 * sent / SECONDS < rate.value < 1.2 * sent / SECONDS
    assert (rate.start_s, rate.step_s) == (0, 1)
    assert len(rate.values) == len(run.breakdown.timeline.t) + 1
    assert (two.value, none.value) == (None, None)
    notes = run.breakdown.notes
    assert notes[0].startswith("two series: the query gives 2 series: aggregate them")
    assert notes[1].startswith("no PromQL: the query fails: ")
    assert run.verdict == "healthy"

    shown = served.get(f"/api/v1/test/results/{run.test_id}").json["target"]
    assert [one["title"] for one in shown] == [one["title"] for one in METRICS[:4]]
    assert shown[1]["value"] == came.value
    page = served.get(f"/runs/{run.test_id}").text
    assert "Target: rate at the target" in page
    assert "two series: the query gives 2 series" in page
    text = served.call("show", run.test_id).stdout
    assert "the target's own numbers" in text
    assert "requests that came" in text

    served.write("next.js", lasting(f"{target.url}/b", seconds=1, more=printing))
    after = measured(served, "next.js")
    assert (after.verdict, [one.value for one in after.target]) == ("healthy", [None] * 4)
    (note,) = after.breakdown.notes
    assert note.startswith("the target's own numbers are missing (rate at the target, requests t")
    assert note.endswith("cannot be asked: Connection refused")

    everything = served.log + str(run) + str(after)
    assert "in-the-environment" in run.log.head + run.output.head
    assert TOKEN not in everything
