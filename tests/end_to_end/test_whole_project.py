"""A whole project as the scripts folder: its tests run, everything else is left alone, untold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from k6d.core.model import Outcome
from support.daemon import hitting

if TYPE_CHECKING:
    from support.daemon import Daemon
    from support.target import Target

CONFIGURATION = {
    "vite.config.ts": "import { defineConfig } from 'vite';\nexport default defineConfig({});\n",
    "svelte.config.js": "import a from '@sveltejs/adapter-node';\nexport default { kit: a() };\n",
    "tailwind.config.js": "module.exports = { content: ['./src/**/*.html'], plugins: [] };\n",
    "jest.config.js": "const path = require('path');\nmodule.exports = { rootDir: path.sep };\n",
    "scripts/build.js": "const name = process.argv[2];\nmodule.exports = require(name);\n",
    "src/vite-env.d.ts": "declare module '*.svelte' { const c: unknown; export default c; }\n",
    "src/types.ts": "export interface A { b: string }\nexport type C = A | null;\n",
    "src/load.ts": "import type { Options } from 'k6/options';\nexport type O = Options | null;\n",
    "src/main.ts": "import App from './App.svelte';\nexport default new App({});\n",
    "src/routes.ts": "export const home = () => import('./Home.vue');\n",
    "src/view.js": "export default function View() { return <div>k6</div>; }\n",
    "src/add.js": "export default function add(a, b) { return a + b; }\n",
    "src/tools.js": "export const tools = ['k6', 'curl'];\nexport default tools.map(;\n",
    "src/gone.ts": "import api from './generated/client.js';\nexport default api;\n",
    "node_modules/left/index.js": "import 'k6';\nexport default function () {}\n",
}


def _write_project(daemon: Daemon, target: Target) -> set[str]:
    """About 200 files; gives the names of its tests."""
    for name, text in CONFIGURATION.items():
        daemon.write(name, text)
    for number in range(90):
        daemon.write(
            f"src/part{number % 9}/model{number}.ts",
            f"import type {{ A }} from '../types';\nexport class M{number} {{ a?: A; }}\n",
        )
        daemon.write(
            f"src/part{number % 9}/store{number}.ts",
            f"import {{ writable }} from 'svelte/store';\nimport {{ M{number} }} from "
            f"'./model{number}';\nexport default writable(new M{number}());\n",
        )
    helper = "import http from 'k6/http';\nexport function go(n) { http.get(`URL/${n}`); }\n"
    daemon.write("k6/lib/go.js", helper.replace("URL", target.url))
    daemon.write("k6/lib/config.ts", "export const base: string = '/';\n")
    tests = {
        "k6/direct.js": hitting(f"{target.url}/direct"),
        "k6/through.js": "import { go } from './lib/go.js';\n"
        "export const options = { iterations: 1 };\nexport default function () { go('a'); }\n",
        "k6/required.js": f"const http = require('k6/http');\n"
        f"exports.default = () => {{ http.get('{target.url}/r'); }};\n",
        "k6/typed.ts": f"import http from 'k6/http';import {{ base }} from './lib/config.ts';\n"
        f"export default function (): void {{ http.get('{target.url}' + base); }}\n",
        "dist/bundle.js": f'import e from"k6/http";var t=()=>e.get("{target.url}/b");'
        "export{t as default};",
    }
    for name, text in tests.items():
        daemon.write(name, text)
    return set(tests)


def test_a_whole_project_makes_no_false_incident(daemon: Daemon, target: Target) -> None:
    """All tests are found and run; of 200 other files none makes a run, and each has its reason."""
    tests = _write_project(daemon, target)
    daemon.start()
    for name in sorted(tests):
        assert daemon.run(name).execution.outcome is Outcome.COMPLETED, name
    daemon.barrier()
    assert set(daemon.counts()) == tests
    assert orjson.loads(daemon.call("incidents", "--json").stdout)["incidents"] == []
    rows = orjson.loads(daemon.call("scripts", "--scripts", str(daemon.scripts), "--json").stdout)
    alone = {row["script"]: row["left_alone"] for row in rows if row["left_alone"]}
    assert set(alone) == {row["script"] for row in rows} - tests
    assert len(alone) > 190
    assert "exports nothing" in alone["src/types.ts"]
    assert "k6 says" in alone["src/tools.js"]
    listed = daemon.call("scripts", "--scripts", str(daemon.scripts)).stdout
    assert "vite.config.ts: neither it nor a module of it imports k6" in listed
    asked = daemon.log.count(" is left alone (")
    assert asked < 10, "k6 is asked only about files that may be tests"


def test_a_helper_that_fails_alone_is_judged_through_its_test(
    daemon: Daemon, target: Target
) -> None:
    """Its incident is over when a test turns out to import it; a test that ran keeps its own.

    1. steps.js, alone in the folder, imports k6 and throws: a script error, an incident.
    2. A test comes that imports it and gives it what it needs: the incident of steps.js is over.
    3. The test breaks: that is told, of a file that ran as a test.
    """
    steps = daemon.write(
        "steps.js",
        "import http from 'k6/http';\nimport { url } from './env.js';\n"
        "if (!url) { throw new Error('no url'); }\n"
        "export default function () { http.get(url); }\n",
    )
    daemon.write("env.js", "export const url = globalThis.url;\n")
    daemon.start(K6D_NOTIFY__URLS="json://127.0.0.1:9/")
    assert daemon.run("steps.js").execution.outcome is Outcome.SCRIPT_ERROR
    daemon.barrier()
    assert "steps.js" in daemon.call("incidents").stdout
    test = "import './set.js';\nimport go from './steps.js';\nexport default function () { go(); }"
    daemon.write("set.js", f"globalThis.url = '{target.url}/';\n")
    main = daemon.write("main.js", test)
    assert daemon.run("main.js").execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    assert "steps.js" not in daemon.call("incidents").stdout
    steps.write_text(steps.read_text() + "// edited\n")
    daemon.run("main.js", 2)
    daemon.barrier()
    main.write_text("export default function () { ;\n")
    assert daemon.run("main.js", 3).execution.outcome is Outcome.SCRIPT_ERROR
    assert daemon.counts() == {"steps.js": 1, "main.js": 3}
