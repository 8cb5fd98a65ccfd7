"""What is a test, by its text: k6 in all the ways it can be imported, and what else lies around."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from k6d.execution.recognise import Recognised, Texts, Uses

if TYPE_CHECKING:
    from pathlib import Path

GO = "export default function () {}\n"


def recognised(folder: Path, name: str = "s.js") -> Recognised:
    """What the file is."""
    return Texts().recognise(str(folder / name))


@pytest.mark.parametrize(
    "text",
    [
        "import http from 'k6/http';\n" + GO,
        'import http from"k6/http";' + GO,
        "import { check,\n  sleep,\n} from 'k6';\n" + GO,
        "import 'k6';\n" + GO,
        "import * as x from 'k6/x/kafka';\n" + GO,
        "const x = require( 'k6/http' );\n" + GO,
        "import type a from './a';\nimport type b\nimport http from 'k6/http';\n" + GO,
        "const http = require('k6/http');\nexports.default = () => {};",
        'var a=require( /* k6 */ "k6/http");module.exports.default=function(){}',
        "export default async function () { (await import('k6/x/faker')).go(); }",
        "export { check as default } from 'k6';",
        "export * from 'k6/execution';",
        'eval("const http = require(\\"k6/http\\");");' + GO,
        "import { textSummary } from 'https://jslib.k6.io/k6-summary/0.1.0/index.js';\n" + GO,
        "export { default } from 'https://example.com/loads/k6/main.js';",
        "import go from 'https://modules.example.com/load.js';\nexport default go;",
        "const http = require(`k6/http`);\nmodule.exports = { default() {} };",
        "import type { Options } from 'k6/options';\nimport http from 'k6/http';\n" + GO,
        "export const options = {\n  thresholds: { http_reqs: ['count>1'] } };\n" + GO,
    ],
)
def test_each_way_to_import_k6_is_seen(tmp_path: Path, text: str) -> None:
    """`import`, `export … from`, `require`, dynamic, minified, bundled, by a URL."""
    (tmp_path / "s.js").write_text(text)
    assert recognised(tmp_path).uses is Uses.YES


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("s.js", GO, "imports k6"),
        ("s.ts", "export interface A { b: string }", "exports nothing"),
        ("s.ts", "export type A = { run(): void };\ndeclare const k: number;", "exports nothing"),
        ("s.ts", "interface A { b: string }", "exports nothing"),
        ("mod.ts", "import 'k6';\nexport { expect } from './expect.ts';", "exports nothing"),
        ("s.js", "import http from 'k6/http';\nexport function login() {}", "exports nothing"),
        ("s.d.ts", "import 'k6';\nexport const y: string;", "declarations"),
        ("s.ts", "import type { Options } from 'k6/options';\nexport const o: Options = {};", "k6"),
        ("s.ts", "import { Options } from 'k6/options';\nexport const o: Options = {};", "k6"),
        (
            "s.ts",
            "import type { Response } from 'k6/http';\nexport const a = 1;",
            "exports nothing",
        ),
        ("s.ts", "import { defineConfig } from 'vite';\nexport default defineConfig({});", "k6"),
        ("s.js", "import App from './App.svelte';\nexport default new App({});", "imports k6"),
        ("s.js", "import './app.css';\nimport x from '$lib/x';\nexport default x;", "imports k6"),
        ("s.js", "export const load = () => import('./views/Home.vue');", "exports nothing"),
        ("s.js", "module.exports = { plugins: [require('tailwindcss')] };", "imports k6"),
        ("s.js", "import http from 'k6/http';\nhttp.get('http://x/');", "exports nothing"),
        ("s.js", "// export nothing\nconsole.log(1);", "exports nothing"),
        ("s.js", "", "exports nothing"),
        ("s.js", "const fork6 = require('fork6');\nexports.a = fork6;", "imports k6"),
    ],
)
def test_what_is_no_test_for_certain(tmp_path: Path, name: str, text: str, reason: str) -> None:
    """Types, configuration, app code, scripts for Node: k6 need not be started for them."""
    (tmp_path / name).write_text(text)
    found = recognised(tmp_path, name)
    assert found.uses is Uses.NO
    assert reason in (found.reason or "")
    assert found.dependencies[str(tmp_path / name)]


@pytest.mark.parametrize(
    "text",
    [
        "import go from './gone.js';\nexport default go;",
        "const name = 'http';\nconst http = require('k' + name);\n" + GO,
        "export default async () => { await import(__ENV.MODULE); };",
        "export default async () => { await import(`./${__ENV.MODULE}`); };",
        "const load = { tool: 'k6', go: 1 };\n" + GO,
        "import { serve } from 'https://deno.land/std/http/server.ts';\nexport const options = 1;",
        GO + "/" * (1 << 20),
    ],
)
def test_what_only_k6_can_say(tmp_path: Path, text: str) -> None:
    """A computed name, a missing module, k6 as a word, a text that is too long."""
    (tmp_path / "s.js").write_text(text)
    assert recognised(tmp_path).uses is Uses.MAYBE


def test_a_test_may_import_k6_through_others(tmp_path: Path) -> None:
    """Only lib.js, two folders away and imported by another, names k6; circles end."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "s.js").write_text("import { go } from './lib/a.js';\nexport default go;")
    (tmp_path / "lib/a.js").write_text("export * from './b.js';\nimport '../s.js';")
    (tmp_path / "lib/b.js").write_text("export const go = 1;")
    found = recognised(tmp_path)
    assert found.uses is Uses.NO
    files = {str(tmp_path / name) for name in ("s.js", "lib/a.js", "lib/b.js")}
    assert set(found.dependencies) == files
    (tmp_path / "lib/b.js").write_text("import http from 'k6/http';\nexport const go = http.get;")
    assert recognised(tmp_path).uses is Uses.YES


def test_a_missing_module_is_a_dependency(tmp_path: Path) -> None:
    """When it comes, the file is looked at again."""
    (tmp_path / "s.js").write_text("import go from './gone.js';\nexport default go;")
    assert recognised(tmp_path).dependencies[str(tmp_path / "gone.js")] == ""


def test_the_file_that_imports_another_is_found(tmp_path: Path) -> None:
    """By what the text names, with and without its ending."""
    (tmp_path / "lib.ts").write_text("export const a = 1;")
    (tmp_path / "other.js").write_text("import './x.js';")
    texts, lib = Texts(), str(tmp_path / "lib.ts")
    others = [str(tmp_path / "other.js"), lib]
    assert texts.importer(lib, others) is None
    for number, spelled in enumerate(("./lib.ts", "./lib", "./lib.js")):
        user = tmp_path / f"user{number}.js"
        user.write_text(f"import {{ a }} from '{spelled}';")
        assert texts.importer(lib, [*others, str(user)]) == str(user)


@pytest.mark.parametrize(
    "text",
    [
        "require(" + " " * 500_000 + "x",
        "import(/* a */" + "\n" * 500_000 + "x",
        "import type" + " " * 500_000 + "x",
        "import type a " * 50_000,
        "export const options " * 25_000,
    ],
    ids=["require", "import", "type", "types", "options"],
)
def test_no_text_holds_up_the_process(tmp_path: Path, text: str) -> None:
    """The search runs in another process: where it does not end, it takes its thread with it."""
    (tmp_path / "s.js").write_text(text + "\n" + GO)
    code = "import sys; from k6d.execution.recognise import Texts; Texts().recognise(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s.js")], check=True, timeout=60)
