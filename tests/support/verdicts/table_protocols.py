"""WebSockets, gRPC, huge numbers, and answers that a check expects."""

from __future__ import annotations

from k6d.core.model import FindingKind as Kind
from k6d.core.model import Outcome, Severity
from support.grpc_target import PROTO
from support.verdicts.specimen import Specimen
from support.verdicts.table_load import plain

WS = "import ws from 'k6/ws'; import http from 'k6/http'; "
NEVER = "nothing of it can be compared"


def calls(*methods: str, checked: str = "", options: str = "iterations: 20") -> str:
    """A script that calls these methods of the gRPC target in each iteration."""
    made = " ".join(
        f"r = c.invoke('shop.Cart/{method}', {{}}); {checked}".strip() for method in methods
    )
    return (
        "import grpc from 'k6/net/grpc'; import http from 'k6/http'; import { check } from 'k6';\n"
        f"export const options = {{ {options} }};\n"
        "const c = new grpc.Client(); c.load(['.'], 'shop.proto');\n"
        "export default function () { let r; if (__ITER === 0) c.connect('G', {plaintext: true}); "
        f"{made} }}"
    )


TABLE = [
    Specimen(
        name="WebSocket handshakes are refused",
        script=WS
        + plain(
            "iterations: 25",
            "export default function () { ws.connect('B/', {}, (s) => s.close()); }",
        ).replace("'B/'", "`B/`.replace('http', 'ws')"),
        found=[
            (
                Kind.LIMIT,
                Severity.CRITICAL,
                "every WebSocket handshake was refused: HTTP 200 instead of 101, 25 of 25",
            )
        ],
    ),
    Specimen(
        name="WebSocket handshakes fail beside a healthy page",
        script=WS
        + plain(
            "iterations: 25",
            "export default function () { http.get('B/'); ws.connect(`B/503`.replace('http', 'ws'), {}, (s) => s.close()); }",
        ),
        found=[(Kind.LIMIT, Severity.CRITICAL, "HTTP 503 instead of 101")],
    ),
    Specimen(
        name="nobody listens for WebSockets",
        script=WS
        + plain(
            "iterations: 5",
            "export default function () { ws.connect('ws://127.0.0.1:1/', {}, (s) => s.close()); }",
        ),
        outcome=Outcome.NO_DATA,
        found=[
            (Kind.UNREACHABLE, Severity.CRITICAL, "no answer to 5 WebSocket handshakes"),
            (Kind.NO_DATA, Severity.HIGH, "not a byte came back"),
        ],
    ),
    Specimen(
        name="a check expects 400",
        script=plain(
            "iterations: 25",
            "export default function () { check(http.get('B/400'), {'is 400': (r) => r.status === 400}); }",
        ),
    ),
    Specimen(
        name="a check expects 404, and the page is well",
        script=plain(
            "iterations: 25",
            "export default function () { http.get('B/'); check(http.get('B/404'), {'gone: status 404': (r) => r.status === 404}); }",
        ),
    ),
    Specimen(
        name="a check expects 404 of one of two that answer it",
        script=plain(
            "iterations: 25",
            "export default function () { http.get('B/404?x'); check(http.get('B/404'), {'status 404': (r) => r.status === 404}); }",
        ),
        found=[(Kind.LIMIT, Severity.CRITICAL, "every request failed: HTTP 404")],
    ),
    Specimen(
        name="a check that it is not 404 passes on 500",
        script=plain(
            "iterations: 25",
            "export default function () { check(http.get('B/500'), {'is not 500-ish or 404': (r) => r.status !== 404}); }",
        ),
        found=[(Kind.LIMIT, Severity.CRITICAL, "every request failed: HTTP 500")],
    ),
    Specimen(
        name="checks of something else pass while requests fail",
        script=plain(
            "iterations: 25",
            "export default function () { check(http.get('B/'), {'has a body': (r) => r.body.length > 0}); http.get('B/500'); }",
        ),
        found=[(Kind.LIMIT, Severity.HIGH, "50 % of the requests failed")],
    ),
    Specimen(
        name="a gauge of 1e20",
        script=plain(
            "iterations: 20",
            "const age = new Gauge('queue_age'); export default function () { age.add(1e20); http.get('B/'); }",
        ),
    ),
    Specimen(
        name="a trend of 1e300 and a counter of 1e18",
        script=plain(
            "iterations: 20",
            "const t = new Trend('took'); const c = new Counter('count'); export default function () { t.add(1e300); c.add(1e18); http.get('B/'); }",
        ),
    ),
    Specimen(
        name="a counter with a threshold that nothing reaches",
        script=plain(
            "iterations: 20, thresholds: { sold: ['count>100'] }",
            "const sold = new Counter('sold'); export default function () { sold.add(1); http.get('B/'); }",
        ),
        found=[(Kind.THRESHOLD, Severity.HIGH, "sold: count>100 was crossed, it was 20")],
    ),
    Specimen(
        name="only a metric of its own without a threshold",
        script=plain(
            "iterations: 20",
            "const t = new Trend('took'); export default function () { t.add(3); }",
        ),
        doubt=NEVER,
    ),
    Specimen(name="gRPC calls", script=calls("Ok"), files=PROTO),
    Specimen(
        name="every gRPC call fails",
        script=calls("Internal"),
        files=PROTO,
        found=[(Kind.LIMIT, Severity.CRITICAL, "every gRPC call failed: INTERNAL, 20 of 20")],
    ),
    Specimen(
        name="every gRPC call is unavailable",
        script=calls("Unavailable"),
        files=PROTO,
        found=[(Kind.UNREACHABLE, Severity.CRITICAL, "UNAVAILABLE for 20 gRPC calls")],
    ),
    Specimen(
        name="one gRPC method of two fails",
        script=calls("Ok", "Internal"),
        files=PROTO,
        found=[
            (
                Kind.LIMIT,
                Severity.HIGH,
                "50 % of the gRPC calls failed (20 of 40), most of them at gRPC /shop.Cart/Internal, mostly INTERNAL",
            )
        ],
    ),
    Specimen(
        name="a check expects that a gRPC call finds nothing",
        script=calls(
            "Absent", checked="check(r, {'is NotFound': (r) => r.status === grpc.StatusNotFound});"
        ),
        files=PROTO,
    ),
    Specimen(
        name="a threshold on a gRPC method",
        script=calls(
            "Ok",
            "Slow",
            options="iterations: 20, thresholds: { 'grpc_req_duration{method:Slow}': ['p(95)<50'] }",
        ),
        files=PROTO,
        found=[(Kind.THRESHOLD, Severity.HIGH, "grpc_req_duration{method:Slow}: p(95)<50")],
    ),
    Specimen(
        name="slow gRPC calls, by the script's own limit",
        script=calls(
            "Slow",
            options="iterations: 20, vus: 5, ext: { k6d: { limits: { response_time_avg: { medium: 50 } } } }",
        ),
        files=PROTO,
        found=[(Kind.LIMIT, Severity.MEDIUM, "average of the gRPC calls")],
    ),
    Specimen(
        name="a gRPC service that is not there",
        script="import grpc from 'k6/net/grpc'; const c = new grpc.Client(); c.load(['.'], 's.proto');\n"
        "export default function () { c.connect('127.0.0.1:1', {plaintext: true, timeout: '200ms'}); }",
        files={"s.proto": 'syntax = "proto3"; service S { rpc R (M) returns (M) {} } message M {}'},
        outcome=Outcome.NO_DATA,
        found=[(Kind.UNREACHABLE, Severity.CRITICAL, "the target is unreachable: ")],
    ),
]
