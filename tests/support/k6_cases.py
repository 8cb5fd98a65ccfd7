"""What k6 is asked to do, the same in each version, and one case of it taken through k6d."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k6d.execution import archive
from k6d.execution.executor import Measured, Order
from k6d.execution.local import discovery, variables
from k6d.execution.local.executor import LocalExecutor
from k6d.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.execution.archive import Script

HTTP = "import http from 'k6/http';\n"
EMPTY = "export default function () {}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A script, the variables that its user sets, and whether it is forwarded with tags."""

    text: str
    env: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


SHOP = (
    HTTP
    + """import { check, group } from 'k6';
import { Counter } from 'k6/metrics';
const sold = new Counter('sold');
export const options = {
  tags: { team: 'a' },
  scenarios: { buy: { executor: 'per-vu-iterations', vus: 3, iterations: 10, exec: 'buy' } },
  thresholds: {
    'http_req_duration{team:a}': ['p(95)<0.0001'],
    http_reqs: ['count>5'],
    checks: ['rate>0.99'],
  },
  ext: { k6d: { enabled: true } },
};
export function buy() {
  group('shop', () => {
    const got = http.get(`${__ENV.TARGET}/cart`, { tags: { name: 'cart' } });
    check(got, { 'is 200': (r) => r.status === 200 });
  });
  http.post(`${__ENV.TARGET}/broken`, 'x', { tags: { name: 'pay' } });
  sold.add(2);
  console.log('bought', __ITER);
}
"""
)
CROSSED = (
    HTTP
    + """export const options = { thresholds: { http_req_duration: ['p(95)<0.0001'] } };
export default function () { http.get(`${__ENV.TARGET}/cart`, { tags: { name: 'cart' } }); }
"""
)
CASES = {
    "shop": Case(text=SHOP, tags={"testid": "t1", "team": "ours"}),
    "scenario with exec": Case(
        text="export const options = { scenarios: { s: { executor: 'constant-vus', vus: 1,"
        " duration: '1s', exec: 'go' } } };\n"
        "import { sleep } from 'k6';\nexport function go() { sleep(0.3) }\n"
    ),
    "machine-readable summary wanted": Case(
        text=CROSSED, env={"K6_NEW_MACHINE_READABLE_SUMMARY": "true"}
    ),
    "no summary wanted": Case(
        text=CROSSED, env={"K6_NO_SUMMARY": "true", "K6_SUMMARY_MODE": "disabled"}
    ),
    "log and output elsewhere": Case(
        text=CROSSED.replace("{ http.get", "{ console.log('hi'); http.get"),
        env={"K6_LOG_FORMAT": "raw", "K6_LOG_OUTPUT": "none", "K6_CONSOLE_OUTPUT": "c.txt"}
        | {"K6_OUT": "json=all.json", "K6_PROMETHEUS_RW_SERVER_URL": "http://127.0.0.1:1/"},
    ),
    "no thresholds wanted": Case(text=CROSSED, env={"K6_NO_THRESHOLDS": "true"}),
    "threshold aborts": Case(
        text=CROSSED.replace("['p(95)<0.0001']", "[{threshold: 'p(95)<0.0001', abortOnFail: true}]")
        .replace("thresholds", "iterations: 100000, thresholds", 1)
        .replace("http.get", "sleep(0.1); http.get")
        .replace(HTTP, HTTP + "import { sleep } from 'k6';\n")
    ),
    "workload by variables": Case(
        text="export default function () { if (__ENV.K6_VUS !== '2') throw new Error('no') }\n",
        env={"K6_VUS": "2", "K6_ITERATIONS": "6"},
    ),
    "vus beside scenarios": Case(
        text="export const options = { vus: 2, scenarios: { s: { executor: 'shared-iterations',"
        " iterations: 3, exec: 'go' } } };\nexport function go() {}\n" + EMPTY
    ),
    "no tags of the system": Case(
        text=HTTP
        + "export const options = { systemTags: ['method'], iterations: 3 };\n"
        + "export default function () { http.get(`${__ENV.TARGET}/cart`); }\n"
    ),
    "refused": Case(text=HTTP + "export default function () { http.get('http://127.0.0.1:1/') }\n"),
    "throws in init": Case(text="const a = missing.thing;\n" + EMPTY),
    "fails in init": Case(text="import { fail } from 'k6';\nfail('no luck');\n" + EMPTY),
    "misses a file": Case(text="const u = JSON.parse(open('./users.json'));\n" + EMPTY),
    "is no JavaScript": Case(text="export default function ( {"),
    "is a module": Case(text="export function help() {}\n"),
    "is paused": Case(text="export const options = { paused: true };\n" + EMPTY),
    "throws in setup": Case(
        text="export function setup() { throw new Error('no login') }\n" + EMPTY
    ),
    "is slow in setup": Case(
        text="import { sleep } from 'k6';\nexport const options = { setupTimeout: '1s' };\n"
        "export function setup() { sleep(9) }\n" + EMPTY
    ),
    "throws in iterations": Case(
        text="export const options = { iterations: 2 };\n"
        "export default function () { throw new Error('boom') }\n"
    ),
    "throws in teardown": Case(
        text="export function teardown() { throw new Error('tear') }\n"
        "export default function () { throw new Error('boom') }\n"
    ),
    "aborts": Case(
        text="import exec from 'k6/execution';\n"
        "export default function () { exec.test.abort('enough') }\n"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What k6d made of a case; nothing is measured of what k6 refused or k6d did."""

    script: Script
    measured: Measured | None


async def run(case: Case, *, binary: Path, folder: Path, target: str) -> Ran:
    """Find k6, take the snapshot, ask for the plan, run, read all: as the pipeline does."""
    path, work = folder / "s.js", folder / "work"
    path.write_text(case.text)
    work.mkdir()
    env = variables.environment({"TARGET": target} | case.env)
    found = await discovery.find(binary)
    settings = load(None, data=folder / "data")
    if case.tags:
        forward = settings.forward.model_copy(update={"url": f"{target}/forward"})
        settings = settings.model_copy(update={"forward": forward})
    script = await archive.look(path, name="s.js", k6=found, workdir=work, env=env)
    if script.error is not None or script.archive is None:
        return Ran(script=script, measured=None)
    order = Order(
        archive=script.archive,
        folder=work,
        env=env,
        options=script.options,
        tags=case.tags,
        timeout_s=None,
        notes=variables.left_out(case.env),
    )
    executor = LocalExecutor(found, settings)
    measured = await executor.run(order, stop=asyncio.Event(), on_start=lambda _: None)
    return Ran(script=script, measured=measured)
