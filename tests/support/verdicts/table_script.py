"""What scripts throw, say and get wrong."""

from __future__ import annotations

from k6d.core.model import FindingKind as Kind
from k6d.core.model import Outcome, Severity
from support.verdicts.specimen import Specimen
from support.verdicts.table_load import plain

TABLE = [
    Specimen(
        name="every iteration throws after its request",
        script=plain("iterations: 20", "export default function () { http.get('B/'); null.x; }"),
        found=[
            (
                Kind.EXCEPTIONS,
                Severity.HIGH,
                "the script threw 20 exceptions, in every iteration, the first: TypeError",
            )
        ],
    ),
    Specimen(
        name="some iterations throw",
        script=plain(
            "iterations: 20",
            "export default function () { http.get('B/'); if (exec.scenario.iterationInTest % 5 === 0) throw new Error('boom'); }",
        ),
        found=[
            (
                Kind.EXCEPTIONS,
                Severity.MEDIUM,
                "the script threw 4 exceptions, the first: Error: boom",
            )
        ],
    ),
    Specimen(
        name="every async iteration throws",
        script=plain(
            "iterations: 20",
            "export default async function () { http.get('B/'); throw new Error('boom'); }",
        ),
        found=[
            (
                Kind.EXCEPTIONS,
                Severity.HIGH,
                "20 exceptions, in every iteration, the first: Uncaught (in promise) Error: boom",
            )
        ],
    ),
    Specimen(
        name="some async iterations throw",
        script=plain(
            "iterations: 20",
            "export default async function () { await http.asyncRequest('GET', 'B/'); if (exec.scenario.iterationInTest % 5 === 0) throw new Error('boom'); }",
        ),
        found=[
            (
                Kind.EXCEPTIONS,
                Severity.MEDIUM,
                "the script threw 4 exceptions, the first: Uncaught (in promise) Error: boom",
            )
        ],
    ),
    Specimen(
        name="a promise that nobody awaits is rejected",
        script=plain(
            "iterations: 20",
            "async function later() { throw new Error('late'); } export default function () { http.get('B/'); later(); }",
        ),
        found=[(Kind.EXCEPTIONS, Severity.HIGH, "Uncaught (in promise) Error: late")],
    ),
    Specimen(
        name="an async iteration catches what it throws",
        script=plain(
            "iterations: 20",
            "export default async function () { try { throw new Error('boom'); } catch (e) { http.get('B/'); } }",
        ),
    ),
    Specimen(
        name="every async iteration throws before its first request",
        script=plain(
            "iterations: 5", "export default async function () { throw new Error('boom'); }"
        ),
        outcome=Outcome.NO_DATA,
        found=[
            (Kind.NO_DATA, Severity.HIGH, "nothing was measured: Uncaught (in promise) Error: boom")
        ],
    ),
    Specimen(
        name="every iteration throws before its first request",
        script=plain("iterations: 5", "export default function () { throw new Error('boom'); }"),
        outcome=Outcome.NO_DATA,
        found=[(Kind.NO_DATA, Severity.HIGH, "nothing was measured: Error: boom")],
    ),
    Specimen(
        name="the script logs the word of an exception",
        script=plain(
            "iterations: 20",
            "export default function () { http.get('B/'); console.error('Uncaught (in promise) Error: no'); }",
        ),
    ),
    Specimen(
        name="fail in each iteration",
        script=plain(
            "iterations: 20",
            "export default function () { http.get('B/'); fail('not logged in'); }",
        ),
        found=[
            (
                Kind.EXCEPTIONS,
                Severity.HIGH,
                "the script gave up 20 iterations by fail(), in every iteration, the first: not logged in at default (",
            )
        ],
    ),
    Specimen(
        name="fail in some iterations",
        script=plain(
            "iterations: 20",
            "export default function () { http.get('B/'); if (exec.scenario.iterationInTest === 3) fail('not logged in'); }",
        ),
        found=[
            (
                Kind.EXCEPTIONS,
                Severity.MEDIUM,
                "the script gave up 1 iteration by fail(), the first: not logged in",
            )
        ],
    ),
    Specimen(
        name="fail after a check",
        script=plain(
            "iterations: 20",
            "export default function () { if (!check(http.get('B/500'), {ok: (r) => r.status === 200})) fail('no page'); }",
        ),
        found=[
            (Kind.LIMIT, Severity.CRITICAL, "every request failed: HTTP 500"),
            (Kind.CHECKS, Severity.HIGH, "100 %"),
            (Kind.EXCEPTIONS, Severity.HIGH, "no page"),
        ],
    ),
    Specimen(
        name="fail in setup",
        script=plain(
            "iterations: 20",
            "export function setup() { fail('no account'); } export default function () { http.get('B/'); }",
        ),
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "setup() failed: no account at setup (")],
    ),
    Specimen(
        name="fail in teardown",
        script=plain(
            "iterations: 20",
            "export default function () { http.get('B/'); } export function teardown() { fail('left over'); }",
        ),
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "teardown() failed: left over at teardown (")],
    ),
    Specimen(
        name="the script aborts its run",
        script=plain(
            "iterations: 50",
            "export default function () { http.get('B/'); if (exec.scenario.iterationInTest === 25) exec.test.abort('enough'); }",
        ),
        outcome=Outcome.ABORTED,
        found=[(Kind.ABORTED, Severity.HIGH, "the script aborted its run: enough at default (")],
    ),
    Specimen(
        name="the script aborts in setup",
        script=plain(
            "iterations: 5",
            "export function setup() { exec.test.abort('no seats'); } export default function () { http.get('B/'); }",
        ),
        outcome=Outcome.ABORTED,
        found=[(Kind.ABORTED, Severity.HIGH, "the script aborted its run: no seats")],
    ),
    Specimen(
        name="the script aborts without a reason",
        script=plain(
            "iterations: 5", "export default function () { http.get('B/'); exec.test.abort(); }"
        ),
        outcome=Outcome.ABORTED,
        found=[(Kind.ABORTED, Severity.HIGH, "the script aborted its run")],
    ),
    Specimen(
        name="the script calls its run failed",
        script=plain(
            "iterations: 20",
            "export default function () { http.get('B/'); exec.test.fail('bad data'); }",
        ),
        not_on=["0.57.0"],
        found=[(Kind.ABORTED, Severity.HIGH, "bad data")],
    ),
    Specimen(
        name="setup throws after a refused login",
        script=plain(
            "iterations: 20",
            "export function setup() { const r = http.get('B/401'); if (r.status !== 200) throw new Error(`login got ${r.status}`); } export default function () { http.get('B/'); }",
        ),
        outcome=Outcome.SCRIPT_ERROR,
        found=[
            (Kind.SCRIPT_ERROR, Severity.HIGH, "setup() failed: Error: login got 401 at setup (")
        ],
    ),
    Specimen(
        name="a mistake in init code",
        script="const a = missing.thing; export default function () { http.get('B/'); }",
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "ReferenceError: missing is not defined")],
    ),
    Specimen(
        name="a syntax mistake",
        script="export default function () { http.get('B/' }",
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "the script cannot run: ")],
    ),
    Specimen(
        name="an exec function that is not there",
        script=plain("scenarios: { s: { executor: 'shared-iterations', exec: 'gone' } }"),
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "gone")],
    ),
    Specimen(
        name="nothing but sleep",
        script=plain("iterations: 2", "export default function () { sleep(0.01); }"),
        outcome=Outcome.NO_DATA,
        found=[(Kind.NO_DATA, Severity.HIGH, "without a request or a check")],
    ),
    Specimen(
        name="only checks",
        script=plain(
            "iterations: 20", "export default function () { check(1, {one: (n) => n === 1}); }"
        ),
    ),
    Specimen(
        name="handleSummary that throws",
        script=plain(
            "iterations: 20",
            "export default function () { http.get('B/'); } export function handleSummary() { throw new Error('no'); }",
        ),
    ),
    Specimen(
        name="groups and a healthy target",
        script=plain(
            "iterations: 20",
            "export default function () { group('cart', () => { check(http.get('B/'), {ok: (r) => r.status === 200}); }); }",
        ),
    ),
    Specimen(
        name="summaryTrendStats of its own",
        script=plain("iterations: 20, summaryTrendStats: ['max']"),
    ),
    Specimen(
        name="expected failures",
        script=plain(
            "iterations: 20",
            "http.setResponseCallback(http.expectedStatuses(404)); export default function () { http.get('B/404'); }",
        ),
    ),
    Specimen(
        name="a batch of requests",
        script=plain(
            "iterations: 10", "export default function () { http.batch(['B/', 'B/100ms']); }"
        ),
    ),
    Specimen(name="discarded bodies", script=plain("iterations: 20, discardResponseBodies: true")),
    Specimen(
        name="a wrong setting",
        script=plain("iterations: 1, ext: { k6d: { limits: { nonsense: 1 } } }"),
        outcome=Outcome.SCRIPT_ERROR,
        found=[(Kind.SCRIPT_ERROR, Severity.HIGH, "nonsense")],
    ),
]
