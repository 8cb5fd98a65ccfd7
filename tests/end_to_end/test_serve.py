"""`k6d serve`: what makes a script run, and what does not; the real daemon, k6 and target."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import count, pairwise
from typing import TYPE_CHECKING

from k6d.core.model import Outcome, Trigger
from support.daemon import Daemon, Gate, hitting, until

if TYPE_CHECKING:
    from pathlib import Path

    from support.target import Target


def test_start_runs_what_never_ran_or_has_changed_since(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """At start-up every new script runs once; after a restart only what changed meanwhile."""
    elsewhere = tmp_path / "elsewhere.js"
    elsewhere.write_text(hitting(f"{target.url}/link"))
    names = ["plain.js", "deep/er/typed.ts", "mit Umlauten ü und Leerzeichen.js", "link.js"]
    daemon.write("plain.js", hitting(f"{target.url}/plain"))
    typed = "const path: string = 'typed';\n"
    daemon.write("deep/er/typed.ts", hitting(f"{target.url}/typed", top=typed))
    daemon.write(names[2], hitting(f"{target.url}/umlaut"))
    (daemon.scripts / "link.js").symlink_to(elsewhere)

    daemon.start()
    for name in names:
        run = daemon.run(name)
        assert run.trigger is Trigger.ADDED
        assert run.execution.outcome is Outcome.COMPLETED
        assert run.metrics.total_requests == 2
    daemon.barrier()
    assert daemon.end() == 0
    daemon.write("plain.js", hitting(f"{target.url}/plain", iterations=3))
    (daemon.scripts / names[2]).touch()

    daemon.start()
    assert daemon.run("plain.js", 2).trigger is Trigger.CHANGED
    daemon.barrier()
    assert daemon.counts() == dict.fromkeys(names, 1) | {"plain.js": 2}
    assert target.requests["GET /plain"] == 2 + 3
    assert target.requests["GET /typed"] == target.requests["GET /umlaut"] == 2


def test_a_folder_may_be_named_from_another_one(daemon: Daemon, target: Target) -> None:
    """As `../scripts`: its scripts run, what waited for its turn too, and have the same names."""
    daemon.write("shop.js", hitting(f"{target.url}/shop"))
    daemon.write("asked.js", hitting(f"{target.url}/asked"))
    daemon.wanted("asked.js", Trigger.MANUAL)
    (daemon.home / "sub").mkdir()
    daemon.scripts = daemon.home / "sub" / ".." / "scripts"
    daemon.start()
    assert daemon.run("shop.js").trigger is Trigger.ADDED
    assert daemon.run("asked.js").trigger is Trigger.MANUAL
    assert daemon.end() == 0
    assert daemon.call("run", str(daemon.scripts / "shop.js")).returncode == 0
    assert daemon.counts() == {"shop.js": 2, "asked.js": 1}


def test_scripts_run_however_they_arrive(daemon: Daemon, target: Target, tmp_path: Path) -> None:
    """Written, copied, moved in, renamed over, checked out, linked: each arrival is one run."""
    daemon.start()
    outside = tmp_path / "outside"
    outside.mkdir()

    def source(name: str) -> Path:
        path = outside / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(hitting(f"{target.url}/{name}"))
        return path

    shutil.copy(source("copied.js"), daemon.scripts / "copied.js")
    source("moved.js").rename(daemon.scripts / "moved.js")
    source("folder/in moved folder.js")
    (outside / "folder").rename(daemon.scripts / "folder")
    temporary = daemon.write(".saved.js.tmp", hitting(f"{target.url}/saved.js"))
    temporary.rename(daemon.scripts / "saved.js")
    daemon.write("new/folders/written.js", hitting(f"{target.url}/written.js"))
    (daemon.scripts / "linked.js").symlink_to(source("linked.js"))
    source("linked folder/inside.js")
    (daemon.scripts / "linked folder").symlink_to(outside / "linked folder")
    expected = dict.fromkeys(
        [
            *("copied.js", "moved.js", "folder/in moved folder.js", "saved.js"),
            *("new/folders/written.js", "linked.js", "linked folder/inside.js"),
        ],
        1,
    )
    for name in expected:
        daemon.run(name)
    daemon.barrier()
    assert daemon.counts() == expected

    source("linked.js").write_text(hitting(f"{target.url}/edited target"))
    assert daemon.run("linked.js", 2).trigger is Trigger.CHANGED
    inside = outside / "linked folder" / "inside.js"
    inside.write_text(hitting(f"{target.url}/edited inside"))
    daemon.run("linked folder/inside.js", 2)
    (daemon.scripts / "moved.js").rename(daemon.scripts / "renamed.js")
    daemon.run("renamed.js")
    daemon.barrier()
    changed = {"linked.js": 2, "linked folder/inside.js": 2, "renamed.js": 1}
    assert daemon.counts() == expected | changed


def test_git_checkout_runs_what_differs_between_branches(daemon: Daemon, target: Target) -> None:
    """Switching branches runs the scripts that differ and what it added, and nothing of .git."""

    def git(*words: str) -> None:
        who = ("-c", "user.name=k6d", "-c", "user.email=k6d@example.org")
        subprocess.run(["git", *who, *words], cwd=daemon.scripts, check=True, capture_output=True)

    git("init", "-b", "main")
    daemon.write("same.js", hitting(f"{target.url}/same"))
    daemon.write("differs.js", hitting(f"{target.url}/main"))
    git("add", ".")
    git("commit", "-m", "main")
    git("checkout", "-b", "other")
    daemon.write("differs.js", hitting(f"{target.url}/other"))
    daemon.write("only-there.js", hitting(f"{target.url}/there"))
    git("add", ".")
    git("commit", "-m", "other")
    git("checkout", "main")

    daemon.start()
    daemon.run("differs.js")
    daemon.run("same.js")
    git("checkout", "other")
    daemon.run("differs.js", 2)
    daemon.run("only-there.js")
    daemon.barrier()
    assert daemon.counts() == {"same.js": 1, "differs.js": 2, "only-there.js": 1}
    assert target.requests["GET /other"] == 2


def test_changed_modules_and_data_run_the_scripts_that_use_them(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """An edit of an imported module or an opened file runs exactly its users, wherever it lies."""
    outside = tmp_path / "shared"
    inner_module = daemon.write("lib/inner.js", "export const number = 1;\n")
    inner_data = daemon.write("lib/users.csv", "anna\n")
    outer_module = daemon.write(str(outside / "outer.ts"), "export const other: number = 1;\n")
    outer_data = daemon.write(str(outside / "names.json"), "[1]")
    inner = "import { number } from './lib/inner.js';\nconst users = open('./lib/users.csv');\n"
    outer = f"import {{ other }} from '{outer_module}';\nconst names = open('{outer_data}');\n"
    daemon.write("inner.js", hitting(f"{target.url}/inner", top=inner))
    daemon.write("outer.js", hitting(f"{target.url}/outer", top=outer))
    daemon.write("both.js", hitting(f"{target.url}/both", top=inner + outer))
    daemon.write("alone.js", hitting(f"{target.url}/alone"))
    daemon.start()
    expected = dict.fromkeys(["alone.js", "both.js", "inner.js", "outer.js"], 1)
    for name in expected:
        daemon.run(name)
    daemon.barrier()

    edits = [
        (inner_module, "export const number = 2;\n", "inner.js"),
        (inner_data, "anna\nbert\n", "inner.js"),
        (outer_module, "export const other: number = 2;\n", "outer.js"),
        (outer_data, "[1, 2]", "outer.js"),
    ]
    for path, text, user in edits:
        path.write_text(text)
        for name in (user, "both.js"):
            expected[name] += 1
            assert daemon.run(name, expected[name]).trigger is Trigger.CHANGED
        outer_data.touch()
        daemon.barrier()
        assert daemon.counts() == expected


def test_what_is_no_script_or_no_change_makes_no_run(daemon: Daemon, target: Target) -> None:
    """Editors' files, .git, node_modules, hidden and ignored ones, touches: nothing runs."""
    daemon.write("k6.js", hitting(f"{target.url}/kept"))
    daemon.start(K6D_WATCH__IGNORE='["*.skip.js", "old/"]')
    daemon.run("k6.js")
    text = hitting(f"{target.url}/never")
    for name in (
        *(".k6.js.swp", ".#k6.js", "#k6.js#", "k6.js~", "4913", "k6.js.tmp", "k6.js___jb_tmp___"),
        *(".git/hook.js", "node_modules/m/index.js", ".hidden.js", ".cache/x.js", "notes.txt"),
        *("a.skip.js", "deep/b.skip.js", "old/c.js", "old/deep/d.js"),
    ):
        daemon.write(name, text)
    script = daemon.scripts / "k6.js"
    script.touch()
    script.chmod(0o600)
    daemon.write("k6.js", script.read_text())
    daemon.barrier()
    assert daemon.counts() == {"k6.js": 1}
    assert target.requests["GET /never"] == 0
    assert "WARNING" not in daemon.log
    assert "ERROR" not in daemon.log


def test_one_save_is_one_run(daemon: Daemon, target: Target) -> None:
    """However an editor writes a file, one save of new contents makes one run."""
    script = daemon.write("a.js", hitting(f"{target.url}/0"))
    daemon.start()
    daemon.run("a.js")

    # vim with backupcopy=no: probe, backup, write, fsync, chmod, remove the backup
    daemon.write("4913", "")
    (daemon.scripts / "4913").unlink()
    script.rename(daemon.scripts / "a.js~")
    with script.open("w") as file:
        file.write(hitting(f"{target.url}/1"))
        file.flush()
        os.fsync(file.fileno())
    script.chmod(0o644)
    (daemon.scripts / "a.js~").unlink()
    daemon.run("a.js", 2)

    # VS Code: truncated and written in place, in two goes
    for text in ("", hitting(f"{target.url}/2")):
        script.write_text(text)
    daemon.run("a.js", 3)

    # JetBrains: temporary file, backup, two renames
    daemon.write("a.js___jb_tmp___", hitting(f"{target.url}/3"))
    script.rename(daemon.scripts / "a.js___jb_old___")
    (daemon.scripts / "a.js___jb_tmp___").rename(script)
    (daemon.scripts / "a.js___jb_old___").unlink()
    daemon.run("a.js", 4)

    daemon.barrier()
    assert daemon.counts() == {"a.js": 4}
    assert [target.requests[f"GET /{number}"] for number in range(4)] == [2, 2, 2, 2]


def test_half_written_file_is_waited_for(daemon: Daemon, target: Target) -> None:
    """A writer that takes its time is waited for, though each half would be a valid script."""
    daemon.start()
    with (daemon.scripts / "slow.js").open("w") as file:
        for number in range(3):
            file.write(f"// part {number}\n" if number else hitting(f"{target.url}/slow"))
            file.flush()
            daemon.barrier()
        assert daemon.counts() == {}
        file.write("// the end\n")
    run = daemon.run("slow.js")
    daemon.barrier()
    assert daemon.counts() == {"slow.js": 1}
    assert run.metrics.total_requests == target.requests["GET /slow"] == 2


def test_edits_during_a_run_make_one_more_run(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """One edit or several while the script runs: the run ends, then the newest contents run once.

    1. A run waits at the target; the script is edited again and again.
    Result: that run measures what it began with, and one more runs, with the last contents.
    2. In the next run the data file outside the folder is edited, once.
    Result: exactly one more.
    """
    data = tmp_path / "outside.csv"
    data.write_text("1\n")
    first, second = Gate(), Gate()
    target.latency["/first"], target.latency["/second"] = first, second
    daemon.write("a.js", hitting(f"{target.url}/first", iterations=1))
    daemon.start(K6D_LOG_LEVEL="debug")
    until(first.reached.is_set, "the first run to be under way")
    numbers = count()

    def edited_twice() -> bool:
        daemon.write("a.js", hitting(f"{target.url}/edit-{next(numbers)}"))
        return daemon.log.count("a.js is pending already") >= 2

    daemon.until(edited_twice, "several edits to be noticed")
    opened = f"const data = open('{data}');\n"
    daemon.write("a.js", hitting(f"{target.url}/second", iterations=1, top=opened))
    first.opened.set()

    until(second.reached.is_set, "the second run to be under way")
    data.write_text("2\n")
    second.opened.set()
    daemon.run("a.js", 3)
    daemon.barrier()
    assert daemon.counts() == {"a.js": 3}
    assert target.requests == {"GET /first": 1, "GET /second": 2}
    edited = [run.snapshot.fingerprint for run in daemon.runs("a.js") if run.snapshot]
    assert len(set(edited)) == 3


def test_script_gone_before_its_turn_does_not_run(daemon: Daemon, target: Target) -> None:
    """A script that is deleted while it waits in the queue is let go, and said so."""
    gate = Gate()
    target.latency["/first"] = gate
    daemon.write("first.js", hitting(f"{target.url}/first", iterations=1))
    daemon.start(K6D_LOG_LEVEL="debug")
    numbers = count(1)
    until(gate.reached.is_set, "the first run to be under way")
    daemon.write("second.js", hitting(f"{target.url}/second")).unlink()
    third = daemon.write("third.js", hitting(f"{target.url}/third"))

    def third_is_pending() -> bool:
        third.write_text(hitting(f"{target.url}/third", iterations=next(numbers)))
        return "third.js is pending already" in daemon.log

    daemon.until(third_is_pending, "the third to be noticed")
    third.unlink()
    daemon.until_logged("third.js is gone before it ran")
    gate.opened.set()
    daemon.run("first.js")
    daemon.barrier()
    assert daemon.counts() == {"first.js": 1}
    assert "ERROR" not in daemon.log


def test_removing_an_import_together_with_its_use_runs_the_script(
    daemon: Daemon, target: Target
) -> None:
    """A module that is gone holds its users back until they change; then they run without it."""
    module = daemon.write("lib.js", "export const number = 1;\n")
    top = "import { number } from './lib.js';\n"
    daemon.write("a.js", hitting(f"{target.url}/with", top=top))
    daemon.start()
    daemon.run("a.js")
    module.unlink()
    daemon.until_logged("lib.js, which is gone; waiting for it")
    daemon.write("a.js", hitting(f"{target.url}/without"))
    run = daemon.run("a.js", 2)
    assert run.execution.outcome is Outcome.COMPLETED
    assert target.requests["GET /without"] == 2


def test_helper_modules_are_known_and_not_complained_about(daemon: Daemon) -> None:
    """A module without a test makes no run and no line; given a test, it runs."""
    daemon.write("lib/helper.js", "export function login() { return 'token'; }\n")
    daemon.write("lib/typed.ts", "export const answer: number = 42;\n")
    daemon.write("lib/empty.js", "")
    daemon.start()
    daemon.barrier()
    assert daemon.counts() == {}
    assert "lib/" not in daemon.log
    assert "WARNING" not in daemon.log
    check = (
        "import { check } from 'k6';\nexport default function () { check(1, { ok: () => true }); }"
    )
    daemon.write("lib/helper.js", check)
    assert daemon.run("lib/helper.js").execution.outcome is Outcome.COMPLETED


def test_a_helper_with_a_mistake_is_told_by_those_who_use_it(
    daemon: Daemon, target: Target
) -> None:
    """It stays a helper module: no run of its own, neither with the mistake nor mended."""
    helper = daemon.write("helper.js", "export const number = 1;\n")
    daemon.write("shop.js", hitting(target.url, top="import { number } from './helper.js';"))
    daemon.start()
    daemon.run("shop.js")
    daemon.barrier()
    helper.write_text("export const number = ;\n")
    assert daemon.run("shop.js", 2).execution.outcome is Outcome.SCRIPT_ERROR
    helper.write_text("export const number = 2;\n")
    assert daemon.run("shop.js", 3).execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    assert daemon.counts() == {"shop.js": 3}


def test_broken_scripts_are_runs_with_k6s_message(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """Syntax error, init exception, bad options: recorded with file and line; others still run."""
    bare = "export default function () {}\n"
    empty = f"import 'k6'; {bare}"
    nameless = "scenarios: { a: { executor: 'shared-iterations', exec: 'missing' } }"
    cases = {
        "syntax.js": (f"// one\n{empty}let x = ;\n", "Line 3:"),
        "typed.ts": (f"const a: number = 1;\nlet b = = 2;\n{empty}", "Line 2:"),
        "init.js": (f"// one\nthrow new Error('no base URL');\n{empty}", "no base URL"),
        "executor.js": (
            f"export const options = {{ scenarios: {{ a: {{ executor: 'nope' }} }} }};\n{bare}",
            "nope",
        ),
        "exec.js": (f"export const options = {{ {nameless} }};\n{empty}", "missing"),
        "settings.js": (
            hitting(target.url, options="ext: { k6d: { timeout: 'soon' } }"),
            "timeout",
        ),
        "import.js": (f"import x from './nowhere.js';\n{empty}", "nowhere.js"),
    }
    for name, (text, _) in cases.items():
        daemon.write(name, text)
    daemon.start()
    for name, (_, said) in cases.items():
        run = daemon.run(name)
        assert run.execution.outcome is Outcome.SCRIPT_ERROR, name
        assert run.execution.error is not None
        assert said in run.execution.error, name
        assert "\n" not in run.execution.error
        assert run.anomaly_analysis.anomalies_detected
        assert run.status == "failed"
    for name in ("syntax.js", "typed.ts", "init.js", "executor.js"):
        assert name in (daemon.runs(name)[0].execution.error or ""), name
    daemon.write("healthy.js", hitting(f"{target.url}/healthy"))
    daemon.run("healthy.js")
    daemon.write("syntax.js", hitting(f"{target.url}/mended"))
    assert daemon.run("syntax.js", 2).execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    assert daemon.counts() == dict.fromkeys(cases, 1) | {"healthy.js": 1, "syntax.js": 2}


def test_mending_an_imported_module_runs_its_users_again(
    daemon: Daemon, target: Target, tmp_path: Path
) -> None:
    """A broken module makes script errors of its users; mended, they run, once each.

    One with a syntax error inside the folder; one outside that was good, and which k6 doesn't name
    in its message; and a data file outside that comes later than the script.
    """
    outer = tmp_path / "outer.js"
    outer.write_text("export const number = 1;\n")
    inner = daemon.write("inner.js", "export const number = ;\n")
    daemon.write("in.js", hitting(f"{target.url}/in", top="import { number } from './inner.js';"))
    top = f"import {{ number }} from '{outer}';\nconst digits = number.toFixed();\n"
    daemon.write("out.js", hitting(f"{target.url}/out", top=top))
    daemon.start()
    broken = daemon.run("in.js")
    assert broken.execution.outcome is Outcome.SCRIPT_ERROR
    assert "inner.js: Line 1:" in (broken.execution.error or "")
    assert daemon.run("out.js").execution.outcome is Outcome.COMPLETED

    outer.write_text("export const number = undefined;\n")
    assert daemon.run("out.js", 2).execution.outcome is Outcome.SCRIPT_ERROR
    outer.write_text("export const number = 2;\n")
    assert daemon.run("out.js", 3).execution.outcome is Outcome.COMPLETED
    missing = tmp_path / "later.json"
    daemon.write("later.js", hitting(f"{target.url}/l", top=f"const data = open('{missing}');"))
    assert daemon.run("later.js").execution.outcome is Outcome.SCRIPT_ERROR
    missing.write_text("{}")
    assert daemon.run("later.js", 2).execution.outcome is Outcome.COMPLETED
    inner.write_text("export const number = 2;\n")
    assert daemon.run("in.js", 2).execution.outcome is Outcome.COMPLETED
    daemon.barrier()
    counts = daemon.counts()
    assert counts.pop("inner.js", 1) == 1  # new and broken, it may as well be a script
    assert counts == {"in.js": 2, "out.js": 3, "later.js": 2}
    wrong = daemon.call("incidents")  # and once it is known not to be one, nothing is wrong with it
    assert (wrong.returncode, "inner.js" in wrong.stdout) == (0, False), wrong.stdout


def _under_way(target: Target, path: str) -> tuple[float, float]:
    """From the first request for the path until the answer to the last."""
    served = [s for s in target.served if s.path == path]
    return min(s.at - s.latency_s for s in served), max(s.at for s in served)


def test_load_tests_take_turns_also_with_k6d_run(daemon: Daemon, target: Target) -> None:
    """One k6 at a time, whoever starts it; nothing is lost and the index is as the files say."""
    names = [f"daemon-{number}.js" for number in range(2)] + [f"cli-{n}.js" for n in range(2)]
    for name in names:
        target.latency[f"/{name}"] = 0.15
        text = hitting(f"{target.url}/{name}", iterations=5)
        daemon.write(name if name.startswith("daemon") else str(daemon.home / name), text)
    daemon.start()
    others = [
        subprocess.Popen(
            daemon.command("run", str(daemon.home / name), "--json"),
            cwd=daemon.home,
            env=daemon.environment(),
            stdout=subprocess.PIPE,
        )
        for name in names[2:]
    ]
    for process in others:
        answer, _ = process.communicate(timeout=120)
        assert process.returncode == 0, answer
    for name in names[:2]:
        daemon.run(name)
    turns = sorted(_under_way(target, f"/{name}") for name in names)
    for (_, end), (begin, _) in pairwise(turns):
        assert end <= begin
    before = daemon.store.history(limit=None)
    assert len(before) == 4
    assert daemon.call("reindex").stdout == "4 runs indexed\n"
    assert daemon.store.history(limit=None) == before


def test_concurrency_is_a_setting(daemon: Daemon, target: Target) -> None:
    """With concurrency 2 two load tests run at once."""
    first, second = Gate(), Gate()
    target.latency["/first"], target.latency["/second"] = first, second
    daemon.write("first.js", hitting(f"{target.url}/first", iterations=1))
    daemon.write("second.js", hitting(f"{target.url}/second", iterations=1))
    daemon.start(K6D_K6__CONCURRENCY="2")
    until(lambda: first.reached.is_set() and second.reached.is_set(), "both to be under way")
    first.opened.set()
    second.opened.set()
    daemon.run("first.js")
    daemon.run("second.js")


def test_a_copy_of_both_folders_lives_its_own_life(daemon: Daemon, target: Target) -> None:
    """What ran in the original does not run again; an edit in the copy runs at once."""
    daemon.write("lib.js", "export const page = '/shop';")
    use = f"http.get('{target.url}' + page);"
    script = "import http from 'k6/http'; import { page } from './lib.js';"
    daemon.write("shop.js", f"{script} export default function () {{ {use} }}")
    daemon.write("other.js", hitting(f"{target.url}/other"))
    daemon.start()
    daemon.run("shop.js")
    daemon.run("other.js")
    daemon.barrier()
    daemon.end()
    copy = Daemon(daemon.home / "copy")
    for name in ("scripts", "data"):
        shutil.copytree(daemon.home / name, copy.home / name, dirs_exist_ok=True)
    try:
        copy.start()
        copy.barrier()
        assert target.requests["GET /shop"] == 1
        assert len(copy.runs("other.js")) == 1
        copy.write("lib.js", "export const page = '/sale';")
        copy.run("shop.js", 2)
        copy.barrier()
        assert target.requests["GET /sale"] == 1
        assert len(copy.runs("other.js")) == 1
    finally:
        copy.close()
