"""What prepares a test, or is excluded, stands apart from the load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from k6d.analysis import series
from k6d.core.model import Trigger
from k6d.execution.excluded import Exclude, kind_of
from support.binaries import NEW
from support.verdicts.specimen import Specimen, run_all

if TYPE_CHECKING:
    from pathlib import Path

    from support.target import Target


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"group": "::setup"}, "setup"),
        ({"group": "::setup::login"}, "setup"),
        ({"group": "::teardown"}, "teardown"),
        ({"group": "::setup", "scenario": "default"}, None),
        ({"group": "::setupper"}, None),
        ({"name": "http://ads.example/a.js", "scenario": "s"}, "excluded"),
        ({"name": "pixel", "url": "http://ads.example/a.js", "scenario": "s"}, "excluded"),
        ({"group": "::shop::login", "scenario": "s"}, "excluded"),
        ({"group": "::shop", "scenario": "s"}, None),
        ({"kind": "static", "scenario": "s"}, "excluded"),
        ({"kind": "page", "scenario": "s"}, None),
        ({"name": "http://shop/?id[0]=1", "scenario": "s"}, "excluded"),
        ({"name": "http://shop/?id0=1", "scenario": "s"}, None),
        ({}, None),
    ],
)
def test_what_stands_apart(tags: dict[str, str], kind: str | None) -> None:
    """By k6's groups, and by what the script excludes."""
    exclude = Exclude(
        names=["http://ads.example/*", "http://shop/?id[0]=*"],
        groups=["shop::login"],
        tags={"kind": "stat*"},
    )
    assert kind_of(tags, exclude) == kind


def test_the_load_is_judged_and_all_of_it_agrees_with_k6(target: Target, tmp_path: Path) -> None:
    """Totals are k6's; those of the load, and its rows, are without the rest."""
    target.latency["/slow"] = 0.6
    script = """export const options = {
  iterations: 40, vus: 2, ext: { k6d: { exclude: 'ad' } },
};
export function setup() { http.get('B/slow'); http.get('B/'); }
export default function () { http.get('B/'); http.get('B/ad', {tags: {name: 'ad'}}); }
export function teardown() { http.get('B/slow'); }"""
    (run,) = run_all(
        [Specimen(name="apart", script=script)], binary=NEW, url=target.url, home=tmp_path
    )
    assert run.trigger is Trigger.MANUAL
    assert run.load is not None
    assert (run.metrics.total_requests, run.load.total_requests) == (83, 40)
    assert run.metrics.total_requests == sum(target.requests.values())
    apart = run.breakdown.apart
    counts = {kind: sum(row.count for row in rows) for kind, rows in apart.items()}
    assert counts == {"setup": 2, "teardown": 1, "excluded": 40}
    assert [row.count for row in run.breakdown.endpoints] == [40]
    assert sum(run.breakdown.status_codes.values()) == 40
    assert (run.load.response_time_p95 or 0) < 600 < (run.metrics.response_time_max or 0)
    # k6's time holds both slow requests, that of the load neither of them.
    assert (run.load.duration_ms or 0) < (run.metrics.duration_ms or 0) - 1000
    assert run.series["requests_per_second"] == pytest.approx(
        40_000 / (run.load.duration_ms or 1), rel=0.001
    )
    assert run.series["setup_avg"] > 300


def test_a_slower_setup_is_a_remark() -> None:
    """It is compared, and never worse."""
    about = series.describe("setup_avg")
    assert not about.judged
    assert about.title == "average of setup()'s requests"
