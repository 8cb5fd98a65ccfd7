"""Executors, dropped iterations, thresholds and limits."""

from __future__ import annotations

from k6d.core.model import FindingKind as Kind
from k6d.core.model import Outcome, Severity
from support.verdicts.specimen import Specimen

GET = "export default function () { http.get('B/'); }"
SLOW = "export default function () { http.get('B/100ms'); }"
P95 = "thresholds: { http_req_duration: ['p(95)<50'] }"


def scenario(plan: str, *, more: str = "", function: str = GET) -> str:
    """A script with one scenario."""
    return f"export const options = {{ scenarios: {{ s: {{ {plan} }} }}, {more} }};\n{function}"


def plain(options: str, function: str = GET) -> str:
    """A script with k6's short options."""
    return f"export const options = {{ {options} }};\n{function}"


RATE = "executor: 'constant-arrival-rate', duration: '1s', gracefulStop: '1s'"
CROSSED = (Kind.THRESHOLD, Severity.HIGH, "p(95)<50 was crossed")

TABLE = [
    Specimen(name="no options", script=GET, doubt="only 1 request"),
    Specimen(name="iterations", script=plain("iterations: 30, vus: 3")),
    Specimen(
        name="duration",
        script=plain("duration: '1s', vus: 2", GET.replace("; }", "; sleep(0.02); }")),
    ),
    Specimen(
        name="stages",
        script=plain(
            "stages: [{duration: '1s', target: 3}]", GET.replace("; }", "; sleep(0.02); }")
        ),
    ),
    Specimen(
        name="shared iterations",
        script=scenario("executor: 'shared-iterations', vus: 2, iterations: 30"),
    ),
    Specimen(
        name="per-VU iterations",
        script=scenario("executor: 'per-vu-iterations', vus: 2, iterations: 15"),
    ),
    Specimen(
        name="constant VUs",
        script=scenario(
            "executor: 'constant-vus', vus: 2, duration: '1s'",
            function=GET.replace("; }", "; sleep(0.02); }"),
        ),
    ),
    Specimen(
        name="ramping VUs",
        script=scenario(
            "executor: 'ramping-vus', startVUs: 1, stages: [{duration: '1s', target: 3}], gracefulRampDown: '0s'",
            function=GET.replace("; }", "; sleep(0.02); }"),
        ),
    ),
    Specimen(
        name="constant arrival rate", script=scenario(f"{RATE}, rate: 30, preAllocatedVUs: 40")
    ),
    Specimen(
        name="ramping arrival rate",
        script=scenario(
            "executor: 'ramping-arrival-rate', startRate: 20, stages: [{duration: '1s', target: 40}], preAllocatedVUs: 40"
        ),
    ),
    Specimen(
        name="shared iterations cut off",
        script=scenario(
            "executor: 'shared-iterations', vus: 2, iterations: 100, maxDuration: '1s'",
            function=SLOW,
        ),
        found=[(Kind.DROPPED, Severity.LOW, "maxDuration (1s) ended first")],
    ),
    Specimen(
        name="shared iterations cut off, threshold crossed",
        script=scenario(
            "executor: 'shared-iterations', vus: 2, iterations: 100, maxDuration: '1s'",
            function=SLOW,
            more=P95,
        ),
        found=[CROSSED, (Kind.DROPPED, Severity.LOW, "maxDuration (1s) ended first")],
    ),
    Specimen(
        name="per-VU iterations cut off, threshold crossed",
        script=scenario(
            "executor: 'per-vu-iterations', vus: 2, iterations: 50, maxDuration: '1s'",
            function=SLOW,
            more=P95,
        ),
        found=[CROSSED, (Kind.DROPPED, Severity.LOW, "an iteration took 1")],
    ),
    Specimen(
        name="iterations beside a duration that ends first",
        script=plain("iterations: 100, vus: 2, duration: '1s'", SLOW),
        found=[(Kind.DROPPED, Severity.LOW, "maxDuration (1s) ended first")],
    ),
    Specimen(
        name="too few VUs for the planned rate",
        script=scenario(f"{RATE}, rate: 40, preAllocatedVUs: 3", function=SLOW),
        found=[
            (
                Kind.DROPPED,
                Severity.MEDIUM,
                "40 iterations/s need at least ",
            )
        ],
    ),
    Specimen(
        name="too few VUs for the planned rate, threshold crossed",
        script=scenario(f"{RATE}, rate: 40, preAllocatedVUs: 3", function=SLOW, more=P95),
        found=[CROSSED, (Kind.DROPPED, Severity.MEDIUM, "response times are the target's")],
    ),
    Specimen(
        name="a target that becomes slow uses up the VUs",
        script=scenario(
            f"{RATE}, rate: 20, preAllocatedVUs: 4",
            function="export default function () { http.get(exec.scenario.iterationInTest < 4 ? 'B/' : 'B/500ms'); }",
        ),
        found=[(Kind.DROPPED, Severity.MEDIUM, "most of it waiting for the target (4 allowed)")],
    ),
    Specimen(
        name="the script's own pauses use up the VUs",
        script=scenario(
            f"{RATE}, rate: 20, preAllocatedVUs: 4",
            function="export default function () { http.get('B/'); if (exec.scenario.iterationInTest > 3) sleep(0.5); }",
        ),
        found=[(Kind.DROPPED, Severity.MEDIUM, "most of it outside of requests")],
    ),
    Specimen(
        name="a ramp that outgrows its VUs",
        script=scenario(
            "executor: 'ramping-arrival-rate', startRate: 10, stages: [{duration: '1s', target: 60}], preAllocatedVUs: 3, gracefulStop: '1s'",
            function=SLOW,
        ),
        found=[(Kind.DROPPED, Severity.MEDIUM, "no virtual user was free")],
    ),
    Specimen(
        name="two scenarios, one starved",
        script="export const options = { scenarios: {"
        f" good: {{ {RATE}, rate: 20, preAllocatedVUs: 20, exec: 'fast' }},"
        f" bad: {{ {RATE}, rate: 40, preAllocatedVUs: 2, exec: 'slow' }} }} }};\n"
        "export function fast() { http.get('B/'); } export function slow() { http.get('B/100ms'); }",
        found=[(Kind.DROPPED, Severity.MEDIUM, "of scenario bad")],
    ),
    Specimen(
        name="dropped iterations have a threshold",
        script=scenario(
            f"{RATE}, rate: 40, preAllocatedVUs: 2",
            function=SLOW,
            more="thresholds: { dropped_iterations: ['count<5'] }",
        ),
        found=[
            (Kind.THRESHOLD, Severity.HIGH, "dropped_iterations: count<5"),
            (Kind.DROPPED, Severity.MEDIUM, "no virtual user was free"),
        ],
    ),
    Specimen(
        name="threshold kept",
        script=plain("iterations: 20, thresholds: { http_req_duration: ['p(95)<5000'] }"),
    ),
    Specimen(
        name="threshold crossed",
        script=plain(f"iterations: 20, vus: 4, {P95}", SLOW),
        found=[CROSSED],
    ),
    Specimen(
        name="threshold on an endpoint",
        script=plain(
            "iterations: 20, vus: 4, thresholds: { 'http_req_duration{name:slow}': ['max<50'] }",
            "export default function () { http.get('B/100ms', {tags: {name: 'slow'}}); http.get('B/'); }",
        ),
        found=[(Kind.THRESHOLD, Severity.HIGH, "http_req_duration{name:slow}: max<50")],
    ),
    Specimen(
        name="threshold on checks",
        script=plain(
            "iterations: 20, thresholds: { checks: ['rate>0.9'] }",
            "export default function () { check(http.get('B/'), {'is 201': (r) => r.status === 201}); }",
        ),
        found=[
            (Kind.THRESHOLD, Severity.HIGH, "checks: rate>0.9"),
            (Kind.CHECKS, Severity.HIGH, "100 % of the checks failed"),
        ],
    ),
    Specimen(
        name="threshold on a custom trend",
        script=plain(
            "iterations: 20, thresholds: { wait: ['avg<5'] }",
            "const wait = new Trend('wait'); export default function () { wait.add(7); http.get('B/'); }",
        ),
        found=[(Kind.THRESHOLD, Severity.HIGH, "wait: avg<5")],
    ),
    Specimen(
        name="threshold on a custom rate",
        script=plain(
            "iterations: 20, thresholds: { good: ['rate>0.5'] }",
            "const good = new Rate('good'); export default function () { good.add(false); http.get('B/'); }",
        ),
        found=[(Kind.THRESHOLD, Severity.HIGH, "good: rate>0.5")],
    ),
    Specimen(
        name="threshold that ends the run",
        script=plain(
            "duration: '20s', thresholds: { http_req_failed: [{threshold: 'rate<0.1', abortOnFail: true}] }",
            "export default function () { http.get('B/500'); sleep(0.05); }",
        ),
        outcome=Outcome.ABORTED,
        found=[
            (Kind.LIMIT, Severity.CRITICAL, "every request failed"),
            (Kind.THRESHOLD, Severity.HIGH, "rate<0.1"),
        ],
        doubt="abortOnFail",
    ),
    Specimen(
        name="a few failed requests",
        script=plain(
            "iterations: 50",
            "export default function () { http.get(exec.scenario.iterationInTest % 12 ? 'B/' : 'B/500'); }",
        ),
        found=[(Kind.LIMIT, Severity.MEDIUM, "10 % of the requests failed (5 of 50)")],
    ),
    Specimen(
        name="many failed requests",
        script=plain(
            "iterations: 40",
            "export default function () { http.get(exec.scenario.iterationInTest % 4 ? 'B/' : 'B/500'); }",
        ),
        found=[(Kind.LIMIT, Severity.HIGH, "25 % of the requests failed")],
    ),
    Specimen(
        name="one endpoint of many fails",
        script=plain(
            "iterations: 25",
            "export default function () { for (let i = 0; i < 17; i++) http.get(`B/?${i}`, {tags: {name: 'good'}}); http.get('B/404'); }",
        ),
        found=[
            (Kind.LIMIT, Severity.MEDIUM, "5.56 % of the requests"),
            (Kind.LIMIT, Severity.HIGH, "100 % of the requests failed (25 of 25) at GET"),
        ],
    ),
    Specimen(
        name="all requests fail",
        script=plain("iterations: 20", "export default function () { http.get('B/503'); }"),
        found=[
            (Kind.LIMIT, Severity.CRITICAL, "every request failed: HTTP 503 for all 20 requests")
        ],
    ),
    Specimen(
        name="nobody listens",
        script=plain(
            "iterations: 20", "export default function () { http.get('http://127.0.0.1:1/'); }"
        ),
        found=[(Kind.UNREACHABLE, Severity.CRITICAL, "connection refused for all 20 requests")],
    ),
    Specimen(
        name="nobody listens, and a threshold and checks",
        script=plain(
            "iterations: 20, thresholds: { http_req_failed: ['rate<0.01'] }",
            "export default function () { check(http.get('http://127.0.0.1:1/'), {up: (r) => r.status === 200}); }",
        ),
        found=[
            (Kind.UNREACHABLE, Severity.CRITICAL, "connection refused"),
            (Kind.THRESHOLD, Severity.HIGH, "rate<0.01"),
            (Kind.CHECKS, Severity.HIGH, "100 % of the checks"),
        ],
    ),
    Specimen(
        name="no such host",
        script=plain(
            "iterations: 2",
            "export default function () { http.get('http://no-such-host.invalid/'); }",
        ),
        found=[(Kind.UNREACHABLE, Severity.CRITICAL, "the target is unreachable")],
    ),
    Specimen(
        name="the target hangs up",
        script=plain(
            "iterations: 5",
            "export default function () { http.get('B/500ms', {timeout: '50ms'}); }",
        ),
        found=[(Kind.UNREACHABLE, Severity.CRITICAL, "request timeout for all 5 requests")],
    ),
    Specimen(
        name="failed checks",
        script=plain(
            "iterations: 20",
            "export default function () { const r = http.get('B/'); check(r, {ok: () => true, half: () => exec.scenario.iterationInTest % 2 === 0}); }",
        ),
        found=[
            (
                Kind.CHECKS,
                Severity.HIGH,
                "25 % of the checks failed (10 of 40), most often “half” (10 times)",
            )
        ],
    ),
    Specimen(
        name="one failed check",
        script=plain(
            "iterations: 20",
            "export default function () { check(http.get('B/'), {most: () => exec.scenario.iterationInTest > 0}); }",
        ),
        found=[(Kind.CHECKS, Severity.MEDIUM, "5 % of the checks failed (1 of 20)")],
    ),
    Specimen(
        name="slow on average, by the script's own limit",
        script=plain(
            "iterations: 20, vus: 4, ext: { k6d: { limits: { response_time_avg: { medium: 50 } } } }",
            SLOW,
        ),
        found=[(Kind.LIMIT, Severity.MEDIUM, "average response time 1")],
    ),
    Specimen(
        name="several limits broken together",
        script=plain(
            "iterations: 20, vus: 4, ext: { k6d: { limits: { response_time_avg: { medium: 50 }, response_time_p95: { high: 60 } } } }",
            "export default function () { http.get(exec.scenario.iterationInTest % 4 ? 'B/100ms' : 'B/500'); }",
        ),
        found=[
            (Kind.LIMIT, Severity.HIGH, "25 % of the requests"),
            (Kind.LIMIT, Severity.HIGH, "p95"),
            (Kind.LIMIT, Severity.MEDIUM, "average"),
        ],
    ),
    Specimen(
        name="VUs hang on unanswered requests",
        script=plain(
            "vus: 4, duration: '1s', ext: { k6d: { limits: { requests_per_second_per_vu: { medium: 5 }, response_time_avg: { high: 300 } } } }",
            "export default function () { http.get('B/500ms'); }",
        ),
        found=[
            (Kind.LIMIT, Severity.HIGH, "average response time "),
            (Kind.LIMIT, Severity.MEDIUM, "requests/s for each VU"),
        ],
    ),
]
