"""Secrets of many shapes, in logs, errors and names, are gone; what explains a run stays."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.core.redact import Redactor
from k6d.core.secrets_by_name import MARK

# Made up, and put together here so that no scanner takes this file for a leak.
LETTERS = "Zx9Qw3Er7Ty2Ui8Op4As6Df1Gh5JkLmN"
JWT = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.{LETTERS}"
PRIVATE = f"-----BEGIN RSA PRIVATE KEY-----\nMIIE{LETTERS}\n{LETTERS}\n"
PEM = f"{PRIVATE}-----END RSA PRIVATE KEY-----"
PROVIDERS = {
    "aws": "AKIA" + "ABCDEFGHIJKL2345",
    "google": "AIza" + LETTERS + "abc",
    "gemini": "AQ." + LETTERS,
    "google oauth": "ya29." + LETTERS,
    "github": "ghp_" + LETTERS + "abcd",
    "github fine-grained": "github_pat_" + LETTERS,
    "gitlab": "glpat-" + LETTERS[:20],
    "slack": "xoxb-" + "123456789012-" + LETTERS,
    "slack app": "xapp-" + "1-A0-" + LETTERS,
    "stripe": "sk_live_" + LETTERS,
    "openai": "sk-" + "proj-" + LETTERS,
    "sendgrid": "SG." + LETTERS[:22] + "." + LETTERS,
    "npm": "npm_" + LETTERS + "abcd",
    "hugging face": "hf_" + LETTERS,
    "shopify": "shpat_" + LETTERS,
    "pypi": "pypi-" + LETTERS,
    "digital ocean": "dop_v1_" + LETTERS,
    "grafana": "glsa_" + LETTERS + "_0a1b2c3d",
    "mailgun": "key-" + "0123456789abcdef" * 2,
    "twilio": "0123456789abcdef" * 2,
    "a whole JWT": JWT,
    "a cut JWT": JWT[:30],
    "google client": "GOCSPX-" + LETTERS[:28],
    "doppler": "dp.pt." + LETTERS + "0123456789",
    "doppler service": "dp.st.prd." + LETTERS,
    "discord": "MTA5" + LETTERS[:20] + "." + "GxYz12" + "." + LETTERS[:31],
    "telegram": "1234567890:" + "AAH" + LETTERS,
    "random": "wJalrXUtnFEMI+K7MDENG_bPxRfiCYzEXAMPLEKEY",
}
WHERE = {
    "alone": "{}",
    "in code": "const c = client('{}');",
    "in a log": '12:00:01 error console got "{}" from the server',
    "in a path": "http.get('https://api.example.org/v1/{}/items');",
    "in JSON": '{{"id": "{}"}}',
}
SECRET = "hunter2"


def redact(text: str) -> str:
    """A text without secrets, as one who knows none of them sees it."""
    return Redactor().text(text)


NAMED = [
    "const PASSWORD = '{}';",
    'let password="{}"',
    "password: `{}`,",
    "db.password={}",
    "PGPASSWORD={} psql",
    "userPass: '{}'",
    "passphrase: 'correct horse {}'",
    "client_secret={}&grant_type=x",
    "http.post(url, 'user=bob&password={}&remember=1');",
    "https://api.example.org/cart?access_token={}&page=2",
    "https://bob:{}@example.org/cart",
    "postgres://shop:{}@db.internal:5432/shop",
    "redis://:{}@cache:6379/0",
    "https://{}@example.org/",
    "Authorization: Bearer {}",
    "Authorization: Basic {}",
    "authorization: {}",
    "{{ headers: {{ Authorization: 'Bearer {}' }} }}",
    "'Authorization': `Token {}`",
    "headers['X-Api-Key'] = '{}';",
    "headers.set('X-Auth-Token', '{}');",
    "x-api-key: {}",
    "Cookie: theme=dark; sid={}",
    "Set-Cookie: session={}; Path=/; HttpOnly",
    '"Set-Cookie": ["sid={}; Path=/"]',
    "jar.set(url, 'session_id', '{}');",
    '{{"token":"{}"}}',
    '{{"user":{{"refresh_token": "{}"}}}}',
    'msg="{{\\"password\\":\\"{}\\"}}"',
    '{{\\"accessToken\\": \\"{}\\"}}',
    '{{"name":"session_id","value":"{}"}}',
    '<input type="hidden" name="csrf_token" value="{}">',
    "<Password>{}</Password>",
    "k6 run --db-password {} script.js",
    "curl -u bob:{} https://example.org",
    "secret := {}",
    "password => {}",
    "const OTP = '{}'",
    "const PASSWORDS = ['first', '{}'];",
    "secrets: {{ db: '{}', api: 'x' }}",
    "const creds = {{ u: 'bob', p: '{}' }};",
    "'Authorization': ['Bearer', '{}'].join(' ')",
    'Authorization: Digest username="bob", response="{}"',
    "curl -H 'X-Api-Key: {}' https://example.org",
    'curl --header "Private-Token: {}" https://example.org',
    "curl -ubob:{} https://example.org",
    "curl --user 'bob:{}' https://example.org",
    "k6 run --password '{}' script.js",
    "https://example.org/?key={}",
    "https://example.org/?a=1&sid={}#top",
    "https://example.org/?next=%2Fa%3Ftoken%3D{}",
    "%22password%22%3A%22{}%22",
    "{{&quot;password&quot;:&quot;{}&quot;}}",
    "\\u0022password\\u0022:\\u0022{}\\u0022",
    "{{value: '{}', name: 'password'}}",
    '<input value="{}" type="hidden" name="csrf_token">',
    '<wsse:Password Type="http://example.org/text">{}</wsse:Password>',
    "get('/', {{ tags: {{ name: 'a' }}, headers: {{ Accept: `${{a}}`, 'X-Key': '{}' }} }});",
    "password is {}",
    "{{ user: 'bob', pw: '{}' }}",
    "{{ user: 'bob', pin: '{}' }}",
    "Passwort: {}",
    "пароль = '{}'",
    '"privateKey": "{}"',
    "AccountKey={};EndpointSuffix=core.windows.net",
    "password = '{}",
    "-u bob:{}",
    'auth: ["bob", "{}"]',
    "auth=['bob', '{}'], timeout=3",
]
KEPT = [
    "import http from 'k6/http';",
    "import { check, sleep } from 'k6';",
    "export const options = { vus: 10, duration: '30s' };",
    "thresholds: { http_req_duration: ['p(95)<500'] },",
    "const res = http.get(`${__ENV.BASE_URL}/cart`);",
    "check(res, { 'token is valid': (r) => r.status === 200 });",
    "// the token expires after an hour",
    "12:00:01 warning Request Failed: Get http://127.0.0.1:8080/cart: connection refused",
    "total_tokens=12",
    "author: 'Ann Smith'",
    "basic authentication failed",
    "session 3 of 12 took 412 ms at p95",
    "const key = `cart-${i}`;",
    "http_req_duration{scenario:checkout,method:POST}",
    "login: { executor: 'constant-vus', exec: 'login' },",
    "const tokenErrors = new Counter('token_errors');",
    "thresholds: { token_errors: ['count<5'] },",
    "if (!token) fail(`no token: ${res.status}`); const page = 'cart';",
    "check(res, { 'ok password=[redacted]': () => true, 'home': () => true }); // can't fail",
    "group('login', () => { check(res, { 'logged in': (r) => r.status === 200 }); });",
    "error console login failed: status 503 for user 12",
    "token expired: got 401 from https://auth.test/oauth/token",
    "duplicate key value violates unique constraint 'orders_pkey'",
    "password authentication failed for user 'shop'",
]


@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE)
@pytest.mark.parametrize("secret", PROVIDERS.values(), ids=PROVIDERS)
def test_secrets_by_their_shape(secret: str, where: str) -> None:
    """What is a secret by its shape is found wherever it stands, in texts, names and code."""
    text, redactor = where.format(secret), Redactor()
    for hidden in (redactor.text(text), redactor.name(text), redactor.code(text)):
        assert secret not in hidden
        assert MARK in hidden


@pytest.mark.parametrize("text", NAMED)
def test_secrets_by_their_names(text: str) -> None:
    """A plain word is found where its name says that it is a secret, and the name stays."""
    redacted = redact(text.format(SECRET))
    assert SECRET not in redacted
    assert MARK in redacted


@pytest.mark.parametrize("text", [PEM, PRIVATE, f"key: `{PEM}`,\nnext", json.dumps({"pem": PEM})])
def test_private_keys(text: str) -> None:
    """A private key goes, whole or cut, in lines or in JSON."""
    assert LETTERS not in redact(text)
    assert "MIIE" not in redact(text)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T000/B000/abcdef",
        "https://discord.com/api/webhooks/42/abcdef",
        "https://api.telegram.org/bot42:abcdef/sendMessage",
        "https://example.webhook.office.com/webhookb2/abcdef",
    ],
)
def test_webhooks(url: str) -> None:
    """The path of a chat service's webhook is its password."""
    assert "abcdef" not in redact(f"POST {url} failed")
    assert "abcdef" not in Redactor().name(url)


@pytest.mark.parametrize("text", KEPT)
def test_what_explains_a_run_is_kept(text: str) -> None:
    """Numbers and messages without secrets come through as they are."""
    assert redact(text) == text


@pytest.mark.parametrize(
    "name",
    [
        *(
            "http://127.0.0.1:8080/cart?page=2&sort=asc",
            "/orders/${id}",
            "GET /cart",
            "token: valid",
        ),
        *("token: fresh", "logged in with password", "::checkout::pay", "login_errors", "is 200"),
        *("http_req_duration{name:/cart}", "https://shop.test/api/v2/auth/login"),
    ],
)
def test_names_are_kept(name: str) -> None:
    """Names of endpoints, checks, groups and metrics stay apart from one another."""
    assert Redactor().name(name) == name


def test_names_hide_what_a_url_holds() -> None:
    """The login and the telling values of a query go; the name is the same whatever they were."""
    for secret in ("hunter2", "blue-horse", "0a1b2c"):
        name = f"http://bob:{secret}@h/cart?access_token={secret}&page=2&sig={secret}"
        shown = f"http://{MARK}@h/cart?access_token={MARK}&page=2&sig={MARK}"
        assert Redactor().name(name) == shown
        assert Redactor().name(shown) == shown


KNOWN = {
    "a telling name": ("SHOP_TOKEN", "blue-horse", ["blue-horse"]),
    "a short pin": ("PIN", "4938", ["4938"]),
    "words": ("PASSWORD", "correct horse", ["correct horse"]),
    "no telling name": ("X", "q1w2e3r4t5", ["q1w2e3r4t5"]),
    "a login in a URL": ("DSN", "postgres://bob:blue-horse@db/shop", ["blue-horse"]),
    "a query": ("HOOK", "https://h/in?token=abcd&x=1", ["abcd"]),
    "a path": ("HOOK", "https://h/services/T01/aB3dE5fG7h", ["aB3dE5fG7h"]),
    "in JSON": ("ACCOUNT", '{"user":"bob","pw":"x1y2z3w4"}', ["x1y2z3w4"]),
    "a list": ("USERS", "bob:hunter2x3,ann:pw2pw3pw4", ["hunter2x3", "pw2pw3pw4"]),
}
PLAIN = {
    **{f"VALUE{n}": value for n, value in enumerate(("1", "true", "test", "10", "", "GET"))},
    "BASE_URL": "http://127.0.0.1:8080",
    "ENV": "staging-2",
    "REGION": "eu-west-1",
    "DURATION": "1m30s",
    "WHEN": "2026-11-27T01:00:00Z",
    "NAME": "checkout under load",
    "TOKEN": "test",
    "PASSWORD": "1",
    "TOKEN_URL": "https://auth.test/oauth/token",
}


@pytest.mark.parametrize(("name", "value", "secrets"), KNOWN.values(), ids=KNOWN)
def test_values_of_variables(name: str, value: str, secrets: list[str]) -> None:
    """A value that looks secret is shown as the variable's name, in texts and in names."""
    redactor = Redactor.of([], {name: value})
    for secret in secrets:
        assert redactor.text(f"got {secret}, 12 times") == f"got [env:{name}], 12 times"
        assert redactor.name(f"http://h/{secret}/cart") == f"http://h/[env:{name}]/cart"


def test_plain_values_of_variables_stay() -> None:
    """What stands in every other line is no secret, though its name should say so."""
    redactor = Redactor.of([], PLAIN)
    for value in PLAIN.values():
        assert redactor.known(f"a {value} b") == f"a {value} b"


def test_all_values_for_texts_that_leave_the_machine() -> None:
    """Addresses and plain words of variables go too; short and common values stay."""
    redactor = Redactor.of([], PLAIN | {"ANIMAL": "blue-horse"}, all_values=True)
    shown = redactor.known("1 true test 10 GET: blue-horse at http://127.0.0.1:8080/cart")
    assert shown == "1 true test 10 GET: [env:ANIMAL] at [env:BASE_URL]/cart"


def test_own_secrets() -> None:
    """k6d's own secrets go whole, and so do the parts of a receiver's URL."""
    url = "slack://TokenA1b2/TokenB3c4/d5E6f7G8h9"
    redactor = Redactor.of([url, "made-by-chance-token"], {})
    assert redactor.known(f"{url} made-by-chance-token") == f"{MARK} {MARK}"
    assert redactor.known("to /d5E6f7G8h9") == f"to /{MARK}"


@pytest.mark.parametrize("value", ['blue horse/9+ä"~!', "blue-horse-of-ours", "ä" * 12])
def test_known_values_in_other_forms(value: str) -> None:
    """As in a URL, in JSON, in base 64, alone or after a name: the value goes all the same."""
    data = value.encode()
    written = [
        *(quote(value), quote(value, safe=""), quote_plus(value), quote(value, safe="!'()*")),
        *(quote(value, safe="").lower(), json.dumps(value), json.dumps(value, ensure_ascii=False)),
        *(base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode().rstrip("=")),
    ]
    redactor = Redactor.of([], {"PASSWORD": value})
    for text in written:
        assert redactor.known(f"<{text}>").strip('"<>') == "[env:PASSWORD]"
    for user in ("a", "ab", "abc"):
        login = base64.b64encode(f"{user}:{value}".encode()).decode()
        shown = redactor.known(f"<{login}>")
        assert "[env:PASSWORD]" in shown
        assert len(shown) - len("<[env:PASSWORD]>") <= 12


def test_a_known_value_of_many_lines() -> None:
    """A key in a variable is found in a log that has split its lines."""
    value = "-----BEGIN A-----\nMIIEowIBAAKCAQEA\n-----END A-----"
    assert "MIIE" not in Redactor.of([], {"PEM_KEY": value}).known("12:00:01 MIIEowIBAAKCAQEA")


def test_a_known_value_inside_another() -> None:
    """The longer value goes first, so that no rest of it stays; a part of a word is no value."""
    redactor = Redactor.of([], {"A_TOKEN": "abcd-efg", "B_TOKEN": "abcd-efg-hijk"})
    assert redactor.text("abcd-efg-hijk abcd-efgs") == "[env:B_TOKEN] abcd-efgs"


def test_hidden_texts_stay_as_they_are() -> None:
    """Hiding twice is hiding once: a saved run goes through it again before Gemini has it."""
    redactor = Redactor.of([], {"SHOP_TOKEN": "blue-horse"})
    for text in [*(text.format("blue-horse") for text in NAMED), "Bearer blue-horse", *KEPT]:
        once = redactor.text(text)
        assert redactor.text(once) == once


def test_base64_of_a_login_in_a_header() -> None:
    """Basic authentication is base 64, not encryption."""
    login = base64.b64encode(b"bob:hunter2hunter2").decode()
    assert login not in redact(f"req.headers = {{'Authorization':'Basic {login}'}}")


@given(st.text(alphabet="ab:=\"'\\ \n@/-{}()tokenpsw19&;,<>[]", max_size=200))
@settings(max_examples=100, deadline=None)
def test_redacting_anything_ends_and_hides_a_url_login(text: str) -> None:
    """Whatever surrounds it, a URL's password doesn't come through, and redaction ends."""
    assert "hunter2secret" not in redact(f"{text} http://u:hunter2secret@h {text}")


HOSTILE = [
    *("token=", "a-", "password", "'", '\\"', "://", "eyJ", "token(", "x-", "x-token", "--", "\\"),
    *("-----BEGIN PRIVATE KEY-----", "token:\n", "login(= (", "secret: {'a',", "<input ", "cookie"),
    *("1.2", "auth: [", "token%3A", "-u a", "dp.aa."),
]
REDACT_ALL = """
import json, sys
from k6d.core.redact import Redactor
for piece in json.load(sys.stdin):
    text = piece * (40_000 // len(piece))
    print(len(Redactor().text(text)) / len(text), len(Redactor().name(text)) / len(text))
"""


def test_hostile_texts_take_no_more_than_their_length() -> None:
    """No text makes the patterns run away: the deadline is generous, one alone would miss it."""
    done = subprocess.run(
        [sys.executable, "-c", REDACT_ALL],
        input=json.dumps(HOSTILE),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    growth = [float(number) for number in done.stdout.split()]
    assert len(growth) == 2 * len(HOSTILE)
    assert max(growth) <= 4
