"""Of a script's source no text is sent that is not on the list, however it is written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k6d.explain.source import REST, without_texts

SECRET = "hunter2"
# Put together here so that no scanner takes this file for a leak.
TOKENS = {
    "discord": "MTA5" + "Zx9Qw3Er7Ty2Ui8Op4As" + ".GxYz12." + "Zx9Qw3Er7Ty2Ui8Op4As6Df1Gh5",
    "doppler": "dp.pt." + "Zx9Qw3Er7Ty2Ui8Op4As6Df1Gh5JkLmN",
    "google": "GOCSPX-" + "Zx9Qw3Er7Ty2Ui8Op4As6Df1",
    "curl": "-u bob:hunter2",
    "a word": SECRET,
    "a path": "/hunter2/hunter2",
    "a URL": "https://hunter2.test/?k=hunter2",
    "like a threshold": "p(95)<hunter2",
    "like a module": "k6/hunter2",
    "like a duration": "12345678s",
}
PLACES = [
    *("const a = '{}';", 'const a = "{}"', "const a = `{}`;", "let a = 'x\\'{}\\\\';", "a('{}')"),
    *("// {}\nb()", "/* {}\n {} */ b()", "#!/usr/bin/k6 {}\nb()", "const a = 'b\\\n{}';"),
    *("const a = /{}/g;", "if (a) /{}['\"]/.test(b)", "return /[/'{}]/", "a = b / c / '{}'.length"),
    *("`a${{b}}{}${{c('{}')}}`", "`${{`{}${{`{}`}}{}`}}{}`", "tag`{}${{ {{a: '{}'}}.a }}{}`"),
    *("`a\\`{}${{1}}\\${{{}}}`", "({{ '{}': 1, [`{}`]: '{}' }})", "a ? '{}' : \"{}\""),
    *("auth: [\"bob\", '{}']", "const a: Record<string, '{}'> = {{}};", "type A = '{}' | \"{}\";"),
    *("enum A {{ B = '{}' }}", "const a = '{}' as const;", "@dec('{}') class A {{ b = '{}' }}"),
    *("const a = <p>it's {} 'and' {}</p>;", "return <A b='{}'>{}'{}</A>", "x = (<>{}</>)"),
    *("a = <string>'{}';", "while (n --> 0) '{}'", "<!-- it's {}\n'{}'", "}} / '{}' / 2"),
    *("for await (x of y) /'{}/.test('{}')", "(a)/'{}'.length/2", "a++ / '{}'.length"),
    *("const {{ a = '{}' }} = b", "import a from './{}.js';", "a?.['{}']?.(`{}`)", "a\n'{}'"),
    *("x = a\n/'{}'/.test(y)", "const a = '{}'", "throw '{}'", "case '{}': break", "a = [,'{}',]"),
]
KEPT = [
    "import http from 'k6/http';",
    'import { Trend } from "k6/metrics";',
    "export const options = { vus: 10, duration: '1m30s', thresholds: {} };",
    "thresholds: { http_req_duration: ['p(95)<500', 'avg < 200', 'p(99.9)<1000'] },",
    "scenarios: { a: { executor: 'ramping-vus', stages: [{ duration: '30s', target: 5 }] } },",
    "const res = http.request('GET', __ENV.BASE_URL);",
    "const rate = (Date.now() - start) / 1000 / 60;",
    "if (res.status !== 200 && !ok(res)) { sleep(Math.random() * 2 ** 3); }",
    "const f = async (a: number, b?: string): Promise<Map<string, number[]>> => a < 3 ? 1 : 0;",
    "export default function () { for (const x of list) { x.y?.z ?? 1_000; } }",
    "headers: { 'Content-Type': 'application/json' },",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", TOKENS.values(), ids=TOKENS)
def test_texts_are_out_of_every_place(secret: str, place: str) -> None:
    """In strings, templates, comments, regular expressions, TypeScript and JSX, and after them."""
    source = f"{place.format(*[secret] * 9)}\nconst after = '{secret}';"
    assert SECRET not in without_texts(source)
    assert secret not in without_texts(source)


@pytest.mark.parametrize("source", KEPT)
def test_what_explains_a_run_is_kept(source: str) -> None:
    """Code, numbers, modules, methods, metrics, thresholds and durations."""
    assert without_texts(source) == source


def test_what_is_left_of_a_script() -> None:
    """Lines keep their places; what the results name is named."""
    source = """// Ann's shop
const TOKEN = 'top-secret';  /* ask
Bob */
export default function () {
  const res = http.get(`${__ENV.BASE_URL}/cart?k=${TOKEN}`, { tags: { name: '/cart' } });
  check(res, { 'is 200': (r) => /ok|fine/.test(r.body), 'is hidden': () => true });
}
"""
    assert (
        without_texts(source, names={"is 200", "/cart"})
        == """
const TOKEN = "…";  
export default function () {
  const res = http.get(`…${__ENV.BASE_URL}…${TOKEN}…`, { tags: { name: '/cart' } });
  check(res, { 'is 200': (r) => /…/.test(r.body), "…": () => true });
}
"""  # noqa: W291
    )


def test_numbers_that_are_secrets() -> None:
    """A number of a telling name goes, and one that is as long as a card's."""
    source = "const pin = 4938; const card = 4111111111111111; const o = { otp: 123456, vus: 10 };"
    expected = "const pin = 0; const card = 0; const o = { otp: 0, vus: 10 };"
    assert without_texts(source) == expected


def test_a_doubt_ends_the_source() -> None:
    """What comes before is sent, and that more was there is said."""
    assert without_texts("const a = 1;\nconst b = 'open\nc()") == f"const a = 1;\nconst b = {REST}"
    assert without_texts("a(); const b = two words;") == f"a(); const b = two {REST}"


QUOTES = ("'{}'", '"{}"', "`{}`", "`${{`{}`}}`", "/{}/.source", "`${{'{}'}}{}`", "'{}'.length")
BEFORE = st.sampled_from(
    [
        *("x = ", "f(", "[", "{ a: ", "return ", "a + ", "a / b / ", "(a) / ", "if (a) ", "x\n= "),
        *(
            "/* ' */ x = ",
            "// `\n x = ",
            "'\\'' + ",
            "/['\"`]/.test(a) ? ",
            "`${a}'\"` + ",
            "() => ",
        ),
        *("f(/'/) + ", "a['b'] / ", "i++ / ", "x => { return ", "typeof ", "`\\`` + ", "`$'` + "),
        *("`${`'${a}`}` + ", "-/[/]'/ + ", "a < b && ", "a >= ", "new Map<string, A>() && "),
    ]
)
LITERALS = st.text(alphabet="abK9/'\"`\\ ${}.:-<*", max_size=6).map(
    lambda rough: rough + "Sx7q" + rough[::-1]
)


def _written(quotes: str, text: str) -> str:
    """A literal that JavaScript reads as one, whatever is in the text."""
    for special in "\\'\"`/$[]":
        text = text.replace(special, f"\\{special}")
    return quotes.format(text, text)


@given(st.lists(st.tuples(BEFORE, st.sampled_from(QUOTES), LITERALS), min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_no_literal_survives(parts: list[tuple[str, str, str]]) -> None:
    """Whatever stands before and in it, no literal of a script that is not on the list is sent."""
    source = ";\n".join(before + _written(quotes, text) for before, quotes, text in parts)
    assert "Sx7q" not in without_texts(source)


@given(st.text(alphabet="'\"`/\\{}()[]<>$=+-*! \nab1;:.", max_size=60))
@settings(max_examples=200, deadline=None)
def test_whatever_comes_the_reader_ends(source: str) -> None:
    """Text that is no JavaScript at all is read to its end, and grows by its marks only."""
    assert len(without_texts(source)) <= 3 * len(source) + len(REST)
