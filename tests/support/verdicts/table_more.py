"""Combinations that a team writes: modules, data, tags, phases, several things at once."""

from __future__ import annotations

from k6d.core.model import FindingKind as Kind
from k6d.core.model import Outcome, Severity
from support.verdicts.specimen import Specimen
from support.verdicts.table_load import plain, scenario

GET = "export default function () { http.get('B/'); }"
CHECKED = "export default function () { check(http.get('B/'), {up: (r) => r.status === 200}); }"

TABLE = [
    Specimen(
        name="data from a JSON file",
        files={"users.json": '["a", "b"]'},
        script="const users = JSON.parse(open('./users.json'));\n"
        + plain(
            "iterations: 20",
            "export default function () { http.get(`B/?u=${users[__ITER % 2]}`, {tags: {name: 'user'}}); }",
        ),
    ),
    Specimen(
        name="a data file that is not there",
        script="const users = JSON.parse(open('./gone.json'));\n" + GET,
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "gone.json")],
    ),
    Specimen(
        name="a module of its own",
        files={"lib.js": "export const path = '/';"},
        script="import http from 'k6/http'; import { path } from './lib.js';\n"
        + plain("iterations: 20", "export default function () { http.get(`B${path}`); }"),
    ),
    Specimen(
        name="a module that is not there",
        script="import http from 'k6/http'; import { path } from './gone.js';\n" + GET,
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "gone.js")],
    ),
    Specimen(
        name="setup hands its data over",
        script=plain(
            "iterations: 20",
            "export function setup() { return {id: http.get('B/').status}; } export default function (data) { check(data, {handed: (d) => d.id === 200}); http.get('B/'); }",
        ),
    ),
    Specimen(
        name="a threshold on a group",
        script=plain(
            "iterations: 20, thresholds: { 'http_req_failed{group:::buy}': ['rate<0.1'] }",
            "export default function () { group('buy', () => http.get('B/500')); group('look', () => { for (let i = 0; i < 20; i++) http.get('B/'); }); }",
        ),
        found=[
            (Kind.THRESHOLD, Severity.HIGH, "http_req_failed{group:::buy}: rate<0.1"),
            (Kind.LIMIT, Severity.HIGH, "100 % of the requests failed (20 of 20) at GET"),
        ],
    ),
    Specimen(
        name="a threshold on a scenario",
        script="export const options = { thresholds: { 'http_req_failed{scenario:bad}': ['rate<0.1'] }, scenarios: { good: { executor: 'shared-iterations', iterations: 20 }, bad: { executor: 'shared-iterations', iterations: 1, exec: 'bad' } } };\n"
        + GET
        + " export function bad() { http.get('B/500'); }",
        found=[(Kind.THRESHOLD, Severity.HIGH, "http_req_failed{scenario:bad}: rate<0.1")],
    ),
    Specimen(
        name="several thresholds of one metric",
        script=plain("iterations: 20, thresholds: { http_reqs: ['count>10', 'count>1000'] }"),
        found=[(Kind.THRESHOLD, Severity.HIGH, "http_reqs: count>1000")],
    ),
    Specimen(
        name="a threshold without a sample",
        script=plain(
            "iterations: 20, thresholds: { 'http_req_duration{name:gone}': ['p(95)<10'] }"
        ),
    ),
    Specimen(
        name="a wrong threshold",
        script=plain("iterations: 20, thresholds: { http_req_duration: ['p(95)<<10'] }"),
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "p(95)<<10")],
    ),
    Specimen(
        name="failed checks within the script's own limit",
        script=plain(
            "iterations: 20, ext: { k6d: { limits: { failed_checks: { high: 60 } } } }",
            "export default function () { check(http.get('B/'), {half: () => exec.scenario.iterationInTest % 2 === 0}); }",
        ),
    ),
    Specimen(
        name="failures within the script's own limit",
        script=plain(
            "iterations: 20, ext: { k6d: { limits: { error_rate: { high: 60 } } } }",
            "export default function () { http.get(exec.scenario.iterationInTest % 2 ? 'B/' : 'B/500'); }",
        ),
    ),
    Specimen(
        name="checks in groups",
        script=plain(
            "iterations: 20",
            "export default function () { group('cart', () => { check(http.get('B/'), {paid: () => false}); }); }",
        ),
        found=[(Kind.CHECKS, Severity.HIGH, "“cart › paid” (20 times)")],
    ),
    Specimen(
        name="POST with a body",
        script=plain(
            "iterations: 20",
            "export default function () { http.post('B/', JSON.stringify({a: 1}), {headers: {'Content-Type': 'application/json'}}); }",
        ),
    ),
    Specimen(
        name="failing POST beside healthy GET",
        script=plain(
            "iterations: 20",
            "export default function () { http.get('B/'); http.post('B/404', 'x'); }",
        ),
        found=[(Kind.LIMIT, Severity.HIGH, "at POST")][:1],
    ),
    Specimen(
        name="async requests",
        script=plain(
            "iterations: 20",
            "export default async function () { const r = await http.asyncRequest('GET', 'B/'); check(r, {up: (a) => a.status === 200}); }",
        ),
    ),
    Specimen(
        name="async requests that fail",
        script=plain(
            "iterations: 20",
            "export default async function () { await http.asyncRequest('GET', 'B/503'); }",
        ),
        found=[(Kind.LIMIT, Severity.CRITICAL, "HTTP 503 for all 20 requests")],
    ),
    Specimen(
        name="requests that throw",
        script=plain(
            "iterations: 20, throw: true",
            "export default function () { http.get('http://127.0.0.1:1/'); }",
        ),
        found=[
            (Kind.UNREACHABLE, Severity.CRITICAL, "connection refused"),
            (Kind.EXCEPTIONS, Severity.HIGH, "in every iteration"),
        ],
    ),
    Specimen(
        name="half of the targets are down",
        script=plain(
            "iterations: 20",
            "export default function () { http.get('B/'); http.get('http://127.0.0.1:1/'); }",
        ),
        found=[(Kind.LIMIT, Severity.HIGH, "50 % of the requests failed (20 of 40)")],
    ),
    Specimen(
        name="a name for all URLs",
        script=plain(
            "iterations: 20", "export default function () { http.get(http.url`B/?id=${__ITER}`); }"
        ),
    ),
    Specimen(
        name="no system tags but three",
        script=plain("iterations: 20, systemTags: ['status', 'method', 'name']", CHECKED),
    ),
    Specimen(
        name="a scenario that starts later",
        script=scenario(
            "executor: 'shared-iterations', iterations: 20, startTime: '1s'", function=CHECKED
        ),
    ),
    Specimen(
        name="a run of one iteration that fails",
        script="export default function () { http.get('B/500'); }",
        found=[(Kind.LIMIT, Severity.CRITICAL, "every request failed: HTTP 500 for all 1 request")],
    ),
    Specimen(
        name="a threshold and an exception",
        script=plain(
            "iterations: 20, thresholds: { checks: ['rate==1'] }",
            "export default function () { check(http.get('B/'), {never: () => false}); throw new Error('late'); }",
        ),
        found=[
            (Kind.THRESHOLD, Severity.HIGH, "checks: rate==1"),
            (Kind.CHECKS, Severity.HIGH, "100 %"),
            (Kind.EXCEPTIONS, Severity.HIGH, "Error: late"),
        ],
    ),
    Specimen(
        name="an exception in teardown",
        script=plain(
            "iterations: 20", GET + " export function teardown() { throw new Error('left'); }"
        ),
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "teardown() failed: Error: left")],
    ),
    Specimen(
        name="setup that takes longer than it may",
        script=plain(
            "iterations: 1, setupTimeout: '300ms'", "export function setup() { sleep(5); } " + GET
        ),
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "setup")],
    ),
]
