"""Preparation, and requests that a script leaves out of judgement."""

from __future__ import annotations

from k6d.core.model import FindingKind as Kind
from k6d.core.model import Severity
from support.verdicts.specimen import Specimen
from support.verdicts.table_load import plain

LIMIT = "limits: { response_time_avg: { high: 300 } }"
GET = "export default function () { http.get('B/'); }"
FAILING = "export function setup() { for (let i = 0; i < 30; i++) http.get('B/500'); }"

TABLE = [
    Specimen(
        name="a slow setup",
        script=plain(
            f"iterations: 20, ext: {{ k6d: {{ {LIMIT} }} }}",
            f"export function setup() {{ http.batch(Array(20).fill('B/1500ms')); }} {GET}",
        ),
    ),
    Specimen(
        name="a failing setup whose load is well",
        script=plain("iterations: 20", f"{FAILING} {GET}"),
    ),
    Specimen(
        name="a failing teardown whose load is well",
        script=plain("iterations: 20", f"{GET} {FAILING.replace('setup', 'teardown')}"),
    ),
    Specimen(
        name="a failing load whose setup is well",
        script=plain(
            "iterations: 20", f"{FAILING.replace('500', '')} {GET.replace('B/', 'B/500')}"
        ),
        found=[
            (Kind.LIMIT, Severity.CRITICAL, "every request failed: HTTP 500 for all 20 requests")
        ],
    ),
    Specimen(
        name="a group of its own that is called setup",
        script=plain(
            "iterations: 20",
            "export default function () { group('setup', () => { http.get('B/500'); }); }",
        ),
        found=[(Kind.LIMIT, Severity.CRITICAL, "every request failed")],
    ),
    Specimen(
        name="groups within setup",
        script=plain(
            "iterations: 20",
            "export function setup() { group('login', () => { http.get('B/401'); }); } " + GET,
        ),
    ),
    Specimen(
        name="a threshold on all requests counts setup as well",
        script=plain(
            "iterations: 20, thresholds: { http_req_failed: ['rate<0.5'] }", f"{FAILING} {GET}"
        ),
        found=[(Kind.THRESHOLD, Severity.HIGH, "rate<0.5 was crossed, it was 0.6")],
    ),
    Specimen(
        name="a third party excluded by its URL",
        script=plain(
            "iterations: 20, ext: { k6d: { exclude: 'http://127.0.0.1:1/*' } }",
            "export default function () { http.get('B/'); http.get('http://127.0.0.1:1/ad.js'); }",
        ),
    ),
    Specimen(
        name="a third party that is not excluded",
        script=plain(
            "iterations: 20",
            "export default function () { http.get('B/'); http.get('http://127.0.0.1:1/ad.js'); }",
        ),
        found=[
            (Kind.LIMIT, Severity.HIGH, "50 % of the requests"),
            (Kind.LIMIT, Severity.HIGH, "100 %"),
        ][:1],
    ),
    Specimen(
        name="a login excluded by its group",
        script=plain(
            "iterations: 20, ext: { k6d: { exclude: { group: 'login' } } }",
            "export default function () { group('login', () => { http.get('B/500'); }); http.get('B/'); }",
        ),
    ),
    Specimen(
        name="excluded by a tag",
        script=plain(
            "iterations: 20, ext: { k6d: { exclude: { tag: { kind: 'static' } } } }",
            "export default function () { http.get('B/404', {tags: {kind: 'static'}}); http.get('B/', {tags: {kind: 'page'}}); }",
        ),
    ),
    Specimen(
        name="excluded by a name, and the rest fails",
        script=plain(
            "iterations: 20, ext: { k6d: { exclude: ['login'] } }",
            "export default function () { http.get('B/', {tags: {name: 'login'}}); http.get('B/503'); }",
        ),
        found=[
            (Kind.LIMIT, Severity.CRITICAL, "every request failed: HTTP 503 for all 20 requests")
        ],
    ),
]
