"""Whether a module can export what k6 calls: decided by its text, compared with the real k6."""

# ruff: noqa: E501  (each specimen is one line)

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from k6d.execution.exported import may_be_called
from k6d.execution.recognise import Texts, Uses
from support.binaries import BINARIES
from support.daemon import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

# In the texts below, OPTIONS stands for options with a scenario that calls `go`, GO for `go`.
OPTIONS = "{ scenarios: { x: { executor: 'shared-iterations', exec: 'go' } } }"
GO = "export function go() {}\n"
BESIDE = {
    "impl.js": f"export default function () {{}}\n{GO}export const options = {{}};\n",
    "settings.js": f"export const scenarios = {OPTIONS}.scenarios;\n",
    "types.ts": "export type A = string;\n",
}
# Ways to export what k6 calls, and what looks like one. k6 is asked about each.
MODULES = {
    "default function.js": "export default function () {}",
    "default class.js": "export default class A {}",
    "default minified.js": "var a=()=>{};export{a as default};",
    "default in list, line by line.js": "function a() {}\nexport {\n  a\n  as\n  default\n};",
    "default in list, comment.js": "function a() {}\nexport { /* } */ a as default };",
    "default string name.js": "function a() {}\nexport { a as 'default' };",
    "default string escape.js": "function a() {}\nexport { a as 'd\\u0065fault' };",
    "default string identity escape.js": "function a() {}\nexport { a as 'd\\efault' };",
    "default name escape.js": "function a() {}\nexport { a as d\\u0065fault };",
    "default brace escape.js": "function a() {}\nexport { a as d\\u{65}fault };",
    "default after comment.js": "export /* why */ default function () {}",
    "default after line comment.js": "export // why\ndefault function () {}",
    "default on the next line.js": "export\n\n  default\nfunction () {}",
    "default, BOM.js": "\ufeffexport default function () {}",
    "default, BOM inside.js": "export\ufeffdefault function () {}",
    "default, no-break space.js": "export\xa0default function () {}",
    "default, paragraph separator.js": "export\u2029default function () {}",
    "default, carriage returns.js": "const a = 1;\rexport default function () {}\r",
    "default, after one line.js": "const a = 1; export default function () {}",
    "default, after a block.js": "function a() {} export default a",
    "default in hashbang file.js": "#!/usr/bin/env k6\nexport default function () {}",
    "star.js": "export * from './impl.js';",
    "star as default.js": "export * as default from './impl.js';\nexport const options = OPTIONS;\nGO",
    "re-export of default.js": "export { default } from './impl.js';",
    "options const.js": "export const options = OPTIONS;\nGO",
    "options declared later.js": "export let options;\noptions = OPTIONS;\nGO",
    "options second.js": "export const a = 1, options = OPTIONS;\nGO",
    "options second, line by line.js": "export const a = { b: [1, 2] },\n  options = OPTIONS;\nGO",
    "options after a function.js": "export const login = (base, settings = {}) => { return base; },\n options = OPTIONS;\nGO",
    "options after a regex.js": "export const a = /[/'\"`]/, options = OPTIONS;\nGO",
    "options after a template.js": "export const a = `${[1, 2].map((x) => `${x},`)}`, options = OPTIONS;\nGO",
    "options after a division.js": "export const a = (4) / 2, b = 'x / y', options = OPTIONS;\nGO",
    "options after two divisions.js": "const g = 2; export const a = 4 / g, b = 8 /g, options = OPTIONS;\nGO",
    "options destructured.js": "export const { options } = { options: OPTIONS };\nGO",
    "options in an array pattern.js": "export const [options] = [OPTIONS];\nGO",
    "options second, destructured.js": "export const a = 1, { options } = { options: OPTIONS };\nGO",
    "options as string.js": "const o = OPTIONS;\nGOexport { o as 'options' };",
    "options as identity escape.js": "const o = OPTIONS;\nGOexport { o as 'o\\ptions' };",
    "options escaped.js": "export const opt\\u0069ons = OPTIONS;\nGO",
    "options from elsewhere.js": "export { options } from './impl.js';\nGO",
    "options star as.js": "export * as options from './settings.js';\nGO",
    "options, no semicolons.js": "export const a = 1\nexport const options = OPTIONS\nGO",
    "cjs module.exports.default.js": "module.exports.default = () => {};",
    "cjs bracket.js": "exports['default'] = function () {};",
    "cjs computed.js": "exports['def' + 'ault'] = function () {};",
    "cjs computed module.js": "module['exp' + 'orts']['def' + 'ault'] = function () {};",
    "cjs this.js": "this.default = function () {};",
    "cjs this computed.js": "this['def' + 'ault'] = function () {};",
    "cjs arrow this.js": "(() => { this['def' + 'ault'] = function () {}; })();",
    "cjs arguments.js": "arguments[1]['def' + 'ault'] = function () {};",
    "cjs eval.js": "eval('exp' + 'orts.def' + 'ault = function () {}');",
    "cjs escape.js": "ex\\u0070orts.d\\u0065fault = function () {};",
    "cjs defineProperty.js": "Object.defineProperty(exports, 'default', { value: function () {} });",
    "cjs options.js": "exports.options = OPTIONS;\nexports.go = function () {};",
    "cjs itself.js": "const it = 'self'; const me = require('./cjs-itself.js'); me['def' + 'ault'] = function () {};",
    "cjs after a comment with an export.js": "/*\nexport function a() {}\n*/\nthis.default = function () {};",
    "cjs after a template with an export.js": "const a = `\nexport function a() {}\n`;\nthis.default = function () {};",
    "cjs after a string with an export.js": "const a = '\\\nexport function a() {}';\nthis.default = function () {};",
    "cjs html comment.js": "<!-- `\nthis.default = function () {};\n// `",
    "cjs html comment end.js": "var a = 1;\n--> '\nthis.default = function () {};",
    "ts options.ts": "interface O { a: string }\nexport const options: any = OPTIONS;\nGO",
    "ts options second.ts": "export const a: Map<string, string> = new Map(), options = OPTIONS;\nGO",
    "ts namespace options.ts": "export namespace options { export const scenarios = { x: { executor: 'shared-iterations', exec: 'go' } } }\nGO",
    "ts type import and cjs.ts": "import type { A } from './types';\nexports.default = function () {};",
    "ts unused import and cjs.ts": "import { A } from './types';\nlet a: A;\nthis.default = function () {};",
    "ts interface and cjs.ts": "export interface A { b: string }\nthis.default = function () {};",
    "ts type and cjs.ts": "export type A = string;\nexports.default = function () {};",
    "ts declare and cjs.ts": "export declare const a: string;\nthis['def' + 'ault'] = function () {};",
    "ts empty list and cjs.ts": "export type { A } from './types';\nexports.default = function () {};",
    "ts postfix.ts": "const g = 1; let a: number | undefined = 4;\nexport const b = a! / 2, c = 3 / g, options = OPTIONS;\nGO",
    "ts generics.ts": "function f<T>(x: T) { return x }\nexport const b = f<string>('/'), options = OPTIONS;\nGO",
    "ts namespace of types and cjs.ts": "export namespace A { export type B = string }\nthis.default = function () {};",
}
# Code that is easily split into wrong tokens: a slash, a quote or a bracket may hide what follows.
TRAPS = (
    "const r = /'/;",
    "const r = /`/;",
    "const r = /[/*]/;",
    "const r = /\\/\\//;",
    "function f() { return /[`'\"]/ }",
    "if (1) /`/.test('');",
    "let i = 0; while (i++ < 1) /'/.test('');",
    "{}\n/`/.test('');",
    "let g = 2; const d = Math.max(1, 2) / g; const e = '/';",
    "let g = 1; const d = {} / g;",
    "let g = 1; const d = [1][0] / g; // '",
    "let i = 1, g = 1; const d = i++ / g; const s = '/';",
    "const t = `a ${'}'} b ${`c ${1}`} d`;",
    "const t = `/*`;",
    "const t = `\\` \\${ `;",
    "const s = '/*', u = \"//\";",
    "const s = 'a\\\nb';",
    "// don't\n/* it's ` */",
    "const f = () => /`/;",
    "const o = { return: 1, if: 2 }; const p = o.return / 2; const q = '/';",
    "const t = typeof /'/;",
    "const r = /[\\]'/]/g;",
    "const l = [.../a'b/.source];",
    "var of = 4, g = 1; const d = of / g; const s = '/';",
    "function* f() { yield /'/ }",
    "async function f() { await /'/ }",
    "const été = 1, s = '\u2028';",
    "class A { #b = 1; get() { return this.#b / 2 } }",
    "const o = { get a() { return /'/ } };",
    "switch (1) { case /'/: break }",
    "const b = 'a' in /'/;",
    "const zz = {}; const b = zz?.b / 1; const c = '/';",
    "a: for (;;) { break a }",
    "const zz = 1_000 / 2, zb = .5 / 1, zc = 0x1F / 1, d = 1n, e = 1e3 / 2;",
    "const zz = null ?? /'/;",
    "function f() { return {} }\n/'/.test('');",
    "for (const x of [/'/]) x;",
    "class A { static { } }\n/'/.test('');",
    "do /'/.test(''); while (0)",
    "if (0) ; else /'/.test('');",
    "const f = (a) => (a) / 2; const s = '/';",
    "const o = { if(x) { return x } }; let g = 2; const v = o.if(4) / g; const w = '/';",
    "const t = `${{ a: { b: '`' } }.a.b}`;",
    "const r = /a/gi, s = /'/u;",
    "const r = /[^\\n'`]/;",
)
# What follows a trap, and exports what k6 calls.
CALLED = (
    "export default function () {}",
    f"export const a = 1, options = {OPTIONS};\n{GO}",
    "function main() {}\nexport { main as default }",
    "this.default = function () {};",
)
HELPERS = {
    "helper.js": "import http from 'k6/http';\nexport function login(base, options = {}) {\n  switch (base) {\n    default: return http.get(base, options);\n  }\n}\n",
    "helper consts.js": "import http from 'k6/http';\nexport const login = (base, options = {}) => http.get(base, options);\nexport const out = async (options) => options;\n",
    "helper class.js": "import http from 'k6/http';\nexport class Api {\n  constructor(options) { this.options = options }\n  get(path) { return http.get(`${this.options.base}/${path}`) }\n}\n",
    "helper lists.js": "import http from 'k6/http';\nfunction login(options) { return options }\nconst b = 1;\nexport { login, b as c };\n",
    "helper with a default in an object.js": "export const limits = { default: 5, options: { a: 1 } };\n",
    "helper with a comment.js": "/** Returns the options. The default is 5. */\nexport const limits = 5;\n",
    "helper ts.ts": "export interface Options { a: string }\nexport type B = Options;\nexport enum Color { Red }\nexport const enum E { A }\nexport const get = (options: Options): string => options.a;\n",
    "helper divisions.js": "export const ms = (s, options) => (s * 1000) / (options.a || 1);\nexport function half(options) { return options.b / 2 }\n",
    "helper re-export.js": "export { go } from './impl.js';\nexport { go as default_ } from './impl.js';\n// options\n",
    "helper imports default.js": "import main, { options } from './impl.js';\nexport function run() { main(options) }\n",
    "nothing.js": "const options = { default: 1 };\n",
    "script of a browser.js": "window = {}; window.options = { default: 1 };\n",
    "type in js.js": "const a = { default: 1 };\nexport let b = a.default, c = b;\n",
}


def _text(text: str) -> str:
    return text.replace("OPTIONS", OPTIONS).replace("GO", GO)


def _is_run(folder: Path, name: str, text: str) -> bool:
    """Whether k6 takes the module for a test."""
    path = folder / name.replace(" ", "-")
    path.write_bytes(text.encode())
    command = [BINARIES["1.1.0"], "archive", "--quiet", "-O", f"{path}.tar", path]
    return (
        subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False).returncode
        == 0
    )


def test_what_k6_runs_is_never_called_a_helper(tmp_path: Path) -> None:
    """Of all modules that the real k6 runs, the text of none is said to export nothing."""
    for name, text in BESIDE.items():
        (tmp_path / name).write_text(text)
    texts = {name: _text(text) for name, text in MODULES.items()}
    with ThreadPoolExecutor(2) as pool:
        run = list(pool.map(lambda name: _is_run(tmp_path, name, texts[name]), texts))
    taken = [name for name, is_run in zip(texts, run, strict=True) if is_run]
    assert len(taken) > 0.8 * len(texts)
    assert not [name for name in taken if not may_be_called(texts[name])]


@pytest.mark.parametrize("trap", TRAPS)
def test_no_code_hides_what_follows(trap: str) -> None:
    """Whatever code comes before it, also in a block or a function, an export is seen."""
    for before in (trap, f"{{\n{trap}\n}}", f"(function () {{ {trap}\n }})();"):
        assert [after for after in CALLED if not may_be_called(f"{before}\n{after}")] == []


@pytest.mark.parametrize("name", HELPERS)
def test_a_helper_is_known_by_its_text(tmp_path: Path, name: str) -> None:
    """A module without a default and without options is no test, whatever its code mentions."""
    assert not may_be_called(_text(HELPERS[name]))
    assert not _is_run(tmp_path, name, _text(HELPERS[name]))
    assert Texts().recognise(str(tmp_path / name.replace(" ", "-"))).uses is Uses.NO


@pytest.mark.parametrize("text", ["(", "`${", "/", "a/", "export { ", "\\", "/*", "'"])
def test_any_text_has_an_answer(text: str) -> None:
    """Odd texts of many characters are read in linear time; they raise nothing."""
    for times in (1, 9_000):
        assert may_be_called(f"default {text * times}") in {True, False}


def test_k6_decides_about_a_long_text() -> None:
    """A bundle that mentions what k6 calls is not split into tokens, which would take a second."""
    assert may_be_called("const options = 1;\n" * 10_000)
    assert not may_be_called("const a = 1;\n" * 10_000)
