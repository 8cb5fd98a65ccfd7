"""Secrets of many shapes, in scripts, logs and responses, are gone; what explains a run stays."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.explain.redact import MARK, forms, hide_known, redact

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
NAMED = [
    "const PASSWORD = '{}';",
    'let password="{}"',
    "password: `{}`,",
    "const apiKey = 'not' +\n  '{}';",
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
    "login('bob', '{}');",
    "const session = authenticate(`bob`, `{}`);",
    "crypto.hmac('sha256', '{}', body, 'hex');",
    "k6 run --db-password {} script.js",
    "curl -u bob:{} https://example.org",
    "secret := {}",
    "password => {}",
    "const OTP = '{}'",
    "const password = __ENV.PASSWORD || '{}';",
    "const token = __ENV['TOKEN'] ?? \"{}\";",
    "const password: string = '{}';",
    "let secret: string | undefined = '{}';",
    "if (password === '{}') fail();",
    "const PASSWORDS = ['first', '{}'];",
    "const passwords = [\n  'first',\n  '{}',\n];",
    "const secret = new SharedArray('x', () => ['{}']);",
    "secrets: {{ db: '{}', api: 'x' }}",
    "const creds = {{ u: 'bob', p: '{}' }};",
    "const [user, pass] = ['bob', '{}'];",
    "const getPassword = () => '{}';",
    "function password() {{ return '{}'; }}",
    "password = encodeURIComponent('{}')",
    "password = String.raw`{}`",
    "encoding.b64encode('bob:{}')",
    "jar.set('http://h', 'auth', '{}')",
    "cookies: {{ theme: 'x', sid: {{ value: '{}', replace: true }} }}",
    'cookies={{"sid":[{{"name":"sid","value":"{}"}}]}}',
    "'Authorization': ['Bearer', '{}'].join(' ')",
    "'Authorization': 'Bearer '.concat('{}')",
    "const header = 'Basic ' + '{}';",
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
]
KEPT = [
    "import http from 'k6/http';",
    "import { check, sleep } from 'k6';",
    "export const options = { vus: 10, duration: '30s' };",
    "thresholds: { http_req_duration: ['p(95)<500'] },",
    "const res = http.get(`${__ENV.BASE_URL}/cart`);",
    "const token = login(user);",
    "password: __ENV.PASSWORD,",
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
    "const token = http.post(`${BASE_URL}/auth/login`, body);",
    "headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },",
    "check(res, { 'ok password=[redacted]': () => true, 'home': () => true }); // can't fail",
    "group('login', () => { check(res, { 'logged in': (r) => r.status === 200 }); });",
    "error console login failed: status 503 for user 12",
    "token expired: got 401 from https://auth.test/oauth/token",
    "duplicate key value violates unique constraint 'orders_pkey'",
    "password authentication failed for user 'shop'",
]


@pytest.mark.parametrize("where", WHERE.values(), ids=WHERE)
@pytest.mark.parametrize("secret", PROVIDERS.values(), ids=PROVIDERS)
@pytest.mark.parametrize("code", [True, False], ids=["code", "log"])
def test_secrets_by_their_shape(secret: str, where: str, code: bool) -> None:
    """What is a secret by its shape is found wherever it stands."""
    assert secret not in redact(where.format(secret), code=code)
    assert MARK in redact(where.format(secret), code=code)


@pytest.mark.parametrize("text", NAMED)
@pytest.mark.parametrize("code", [True, False], ids=["code", "log"])
def test_secrets_by_their_names(text: str, code: bool) -> None:
    """A plain word is found where its name says that it is a secret, and the name stays."""
    redacted = redact(text.format(SECRET), code=code)
    assert SECRET not in redacted
    assert MARK in redacted


@pytest.mark.parametrize("text", [PEM, PRIVATE, f"key: `{PEM}`,\nnext", json.dumps({"pem": PEM})])
def test_private_keys(text: str) -> None:
    """A private key goes, whole or cut, in lines or in JSON."""
    assert LETTERS not in redact(text)
    assert "MIIE" not in redact(text, code=True)


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
    assert "abcdef" not in redact(f"http.post('{url}', body)", code=True)


@pytest.mark.parametrize("text", KEPT)
def test_what_explains_a_run_is_kept(text: str) -> None:
    """Code, numbers and messages without secrets come through as they are."""
    assert redact(text, code=True) == text


def test_known_values() -> None:
    """A value that the caller knows goes by its name, wherever it stands; short ones don't."""
    known = {"blue-horse": "env SHOP_PW", "http://10.0.0.7:8080": "env BASE_URL", "10": "env VUS"}
    text = "at http://10.0.0.7:8080/cart with blue-horse, 10 VUs; not blue-horses"
    redacted = redact(text, known=known)
    assert redacted == "at [env BASE_URL]/cart with [env SHOP_PW], 10 VUs; not blue-horses"


def test_homes() -> None:
    """Whose home a stack trace comes from is not told."""
    assert redact("at f (file:///home/alice/k6/a.js:9)") == "at f (file:///home/…/k6/a.js:9)"


def test_the_name_of_a_known_value_tells() -> None:
    """What is named as a secret is one, however short or plain; a number of another name is not."""
    known = {"4938": "env:PIN", "8080": "env:PORT", "abc": "env:DB_PASSWORD"}
    assert (
        redact("pin 4938 at 8080, abc", known=known) == "pin [env:PIN] at 8080, [env:DB_PASSWORD]"
    )


@pytest.mark.parametrize("value", ['blue horse/9+ä"~!', "blue-horse-of-ours", "ä" * 12])
def test_known_values_in_other_forms(value: str) -> None:
    """As in a URL, in JSON, in base 64, alone or after a name: the value goes all the same."""
    data = value.encode()
    written = [
        *(quote(value), quote(value, safe=""), quote_plus(value), quote(value, safe="!'()*")),
        *(quote(value, safe="").lower(), json.dumps(value), json.dumps(value, ensure_ascii=False)),
        *(base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode().rstrip("=")),
    ]
    known = dict.fromkeys(forms(value), "env:PET") | {value: "env:PET"}
    for text in written:
        assert hide_known(f"<{text}>", known).strip('"<>') == "[env:PET]"
    for user in ("a", "ab", "abc"):
        login = base64.b64encode(f"{user}:{value}".encode()).decode()
        shown = hide_known(f"<{login}>", known)
        assert "[env:PET]" in shown
        assert len(shown) - len("<[env:PET]>") <= 12


def test_a_known_value_of_many_lines() -> None:
    """A key in a variable is found in a log that has split its lines."""
    value = "-----BEGIN A-----\nMIIEowIBAAKCAQEA\n-----END A-----"
    known = dict.fromkeys(forms(value), "env:PEM")
    assert "MIIE" not in hide_known("12:00:01 MIIEowIBAAKCAQEA", known)


def test_a_known_value_inside_another() -> None:
    """The longer value goes first, so that no rest of it stays."""
    assert redact("abcd-efgh", known={"abcd": "env A", "abcd-efgh": "env B"}) == "[env B]"


def test_base64_of_a_login_in_a_header() -> None:
    """Basic authentication is base 64, not encryption."""
    login = base64.b64encode(b"bob:hunter2hunter2").decode()
    assert login not in redact(f"req.headers = {{'Authorization':'Basic {login}'}}", code=True)


@given(st.text(alphabet="ab:=\"'\\ \n@/-{}()tokenpsw19&;,<>", max_size=200))
@settings(max_examples=200, deadline=None)
def test_redacting_anything_ends_and_hides_a_url_login(text: str) -> None:
    """Whatever surrounds it, a URL's password doesn't come through, and redaction ends."""
    for code in (True, False):
        assert "hunter2secret" not in redact(f"{text} http://u:hunter2secret@h {text}", code=code)


HOSTILE = [
    *("token=", "a-", "password", "'", '\\"', "://", "eyJ", "token(", "x-", "x-token", "--", "\\"),
    *("-----BEGIN PRIVATE KEY-----", "token:\n", "login(= (", "secret: {'a',", "<input ", "cookie"),
]
REDACT_ALL = """
import json, sys
from k6d.explain.redact import redact
for piece in json.load(sys.stdin):
    text = piece * (40_000 // len(piece))
    print(len(redact(text, code=True)) / len(text), len(redact(text)) / len(text))
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
