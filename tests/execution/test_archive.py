"""The real k6 (both versions) looks at real files: what they are, what they need, what changed."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from k6d.core.model import K6dError
from k6d.core.reading import digest_of
from k6d.core.redact import Redactor
from k6d.execution import archive
from k6d.execution.archive import Kind, Script, name_of, unchanged
from k6d.execution.local import discovery, variables
from k6d.execution.mentions import on_this_machine
from support.binaries import BINARIES, NEW, bare_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

both = pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
EMPTY = "export default function () {}\n"


async def _look(
    path: Path,
    *,
    binary: Path = NEW,
    env: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    extra: Mapping[str, str] | None = None,
    hide: Callable[[str], str] = str,
) -> Script:
    work = path.parent / f"work of {path.name}"
    work.mkdir(exist_ok=True)
    found = await discovery.find(binary)
    return await archive.look(
        path,
        name=path.name,
        k6=found,
        workdir=work,
        env=variables.environment(env or {}),
        options=options,
        extra_workload=extra,
        hide=hide,
    )


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@both
@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (EMPTY, Kind.TEST, ""),
        (
            "export const options = { scenarios: { a: { executor: 'shared-iterations',"
            " exec: 'go' } } };\nexport function go() {}\n",
            Kind.TEST,
            "",
        ),
        ("export function help() {}", Kind.LIBRARY, ""),
        ("export default { a: 1 };", Kind.LIBRARY, ""),
        ("// nothing yet", Kind.LIBRARY, ""),
        ("", Kind.LIBRARY, ""),
        ("export default function ( {", Kind.BROKEN, "s.js: Line 1:"),
        ("throw new Error('no luck');\n" + EMPTY, Kind.BROKEN, "Error: no luck at s.js:1:"),
        ("import './gone.js';\n" + EMPTY, Kind.BROKEN, "./gone.js"),
        (
            "open('gone.csv');\n" + EMPTY,
            Kind.BROKEN,
            "gone.csv: no such file or directory at s.js:1:",
        ),
        ("const x = open('gone.csv');\n" + EMPTY, Kind.BROKEN, "gone.csv"),
        ("export const options = { vus: 'x' };\n" + EMPTY, Kind.BROKEN, "parsing"),
        (
            "export const options = { scenarios: { a: { executor: 'shared-iterations',"
            " exec: 'gone' } } };\n" + EMPTY,
            Kind.BROKEN,
            "function 'gone' not found in exports",
        ),
        (
            "export const options = { thresholds: { gone: ['p(95)<1'] } };\n" + EMPTY,
            Kind.BROKEN,
            'no metric name "gone"',
        ),
        ("\0\x01\x02 garbage", Kind.BROKEN, "s.js"),
    ],
)
async def test_a_file_is_a_test_a_library_or_broken(
    tmp_path: Path, binary: Path, text: str, kind: Kind, words: str
) -> None:
    """k6 itself decides; for what is broken its own words are kept on one line, with the place."""
    script = await _look(_write(tmp_path / "s.js", text), binary=binary)
    assert script.kind is kind
    assert str(tmp_path / "s.js") in script.dependencies
    if kind is Kind.TEST:
        assert script.error is None
        assert script.snapshot is not None
        assert script.archive is not None
    else:
        assert words in (script.error or "")
        assert "\n" not in (script.error or "")
        assert "file://" not in (script.error or "")


@both
async def test_the_data_of_a_broken_script_is_followed(tmp_path: Path, binary: Path) -> None:
    """k6 does not say in which file the mistake is: those in quotes, of its modules too."""
    data = _write(tmp_path / "data" / "users.json", "[1,")
    lib = _write(
        tmp_path / "lib" / "users.js", "export const all = JSON.parse(open('../data/users.json'));"
    )
    path = _write(
        tmp_path / "s.js",
        "import http from 'k6/http';\nimport { all } from './lib/users.js';\nlet s = '%s/..';\n"
        % ("x" * 290)
        + EMPTY,
    )
    script = await _look(path, binary=binary)
    assert script.kind is Kind.BROKEN
    assert script.dependencies == {str(p): digest_of(p) for p in (data, lib, path)}


async def test_a_module_that_cannot_be_read_breaks_its_script_only(tmp_path: Path) -> None:
    """k6 says so; we follow the module, which may be mended."""
    module = tmp_path / "m.js"
    module.symlink_to("/proc/self/mem")  # whose beginning nobody can read
    script = await _look(_write(tmp_path / "s.js", f"import './m.js';\n{EMPTY}"))
    assert script.kind is Kind.BROKEN
    assert "m.js" in (script.error or "")
    assert script.dependencies[str(module)] == ""


@pytest.mark.parametrize("named", ["/dev/zero", "{folder}/pipe", "{folder}/socket.js", "/dev/tty"])
async def test_words_of_a_script_make_nobody_read_what_never_ends(
    tmp_path: Path, named: str
) -> None:
    """A device, a pipe or a socket in an error text is a script error, with nothing to read."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.js"))
        named = named.format(folder=tmp_path)
        text = f"const a = '{named}';\nthrow new Error(`open {named}: boom`);\n"
        script = await _look(_write(tmp_path / "s.js", text + EMPTY))
    assert script.kind is Kind.BROKEN
    assert script.dependencies[named] == ""
    assert set(script.dependencies) == {named, str(tmp_path / "s.js")}


async def test_a_script_that_is_a_pipe_is_a_users_error(tmp_path: Path) -> None:
    """It is not opened; the message says what it is."""
    os.mkfifo(tmp_path / "s.js")
    with pytest.raises(K6dError, match=r"s\.js cannot be read: it is a named pipe"):
        await _look(tmp_path / "s.js")


async def test_a_long_error_text_costs_little(tmp_path: Path) -> None:
    """A megabyte of what looks like paths is a script error like any other."""
    text = "throw new Error('open /x '.repeat(100000));\n" + EMPTY
    script = await _look(_write(tmp_path / "s.js", text))
    assert script.kind is Kind.BROKEN
    assert len(script.error or "") < 20_000


@both
@pytest.mark.parametrize("moved", ["s.js", "lib.js", "users.csv"])
async def test_a_file_that_was_away_for_a_moment_is_no_mistake(
    tmp_path: Path, binary: Path, moved: str
) -> None:
    """A checkout, or a folder that is moved to and fro, while k6 looks: k6 looks again."""
    path = _write(tmp_path / "s.js", "import './lib.js';\nopen('users.csv');\n" + EMPTY)
    _write(tmp_path / "lib.js", "export const a = 1;\n")
    _write(tmp_path / "users.csv", "anna\n")
    once, file = tmp_path / "once", tmp_path / moved
    moving = _write(
        tmp_path / "k6-moving",
        f"""#!/bin/sh
if [ "$1" = archive ] && [ ! -e {once} ]; then
  touch {once}; mv {file} {file}.away; {binary} "$@"; code=$?; mv {file}.away {file}; exit $code
fi
exec {binary} "$@"
""",
    )
    moving.chmod(0o755)
    assert (await _look(path, binary=moving)).kind is Kind.TEST
    assert once.exists()


async def test_a_script_that_comes_back_late_is_no_mistake(tmp_path: Path) -> None:
    """It was away when k6 looked and a moment later: removed, whatever it is after that."""
    path = _write(tmp_path / "s.js", EMPTY)
    away = _write(
        tmp_path / "k6-away",
        f"""#!/bin/sh
if [ "$1" = archive ]; then
  mv {path} {path}.away; {NEW} "$@"; code=$?
  (sleep 0.3; mv {path}.away {path}) >/dev/null 2>&1 &
  exit $code
fi
exec {NEW} "$@"
""",
    )
    away.chmod(0o755)
    with pytest.raises(K6dError, match="was removed while k6 looked at it"):
        await _look(path, binary=away)


async def test_half_a_secret_at_the_cut_of_a_long_error_is_hidden(tmp_path: Path) -> None:
    """Secrets are hidden before an error is cut, known ones and those that look like one."""
    jwt = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJodW50ZXIyIn0." + "Zx9Qw3Er7Ty2Ui8Op4As6Df1Gh5JkLmN"
    known = "tok-hunter2-" + "4711" * 10
    for secret in (known, jwt):
        error = "'x '.repeat(1985) + " + repr(secret) + " + ' y'.repeat(3000)"  # cut at 4,000
        path = _write(tmp_path / "s.js", f"throw new Error({error});\n")
        script = await _look(path, hide=Redactor({known: "known"}).text)
        assert script.kind is Kind.BROKEN
        assert "x x x" in (script.error or "")
        assert secret[:12] not in (script.error or "")


@both
@pytest.mark.parametrize("levels", [120, 300, 3000])
async def test_options_nested_too_deeply_are_a_script_error(
    tmp_path: Path, binary: Path, levels: int
) -> None:
    """What k6 takes and no record can hold is the script's mistake, and said so."""
    top = f"let deep = 1; for (let i = 0; i < {levels}; i++) deep = {{ a: deep }};\n"
    top += "export const options = { ext: { k6d: { limits: deep } } };\n"
    script = await _look(_write(tmp_path / "s.js", top + EMPTY), binary=binary)
    assert script.kind is Kind.BROKEN
    assert "nested too deeply" in (script.error or "")


@both
async def test_dependencies_are_every_file_that_was_pulled_in(tmp_path: Path, binary: Path) -> None:
    """Imports of imports, opened data, TypeScript: each by its absolute path and contents."""
    files = [
        _write(tmp_path / "lib" / "auth.js", "export { x } from './deep.js';"),
        _write(tmp_path / "lib" / "deep.js", "export const x = 1;"),
        _write(tmp_path / "data files" / "ü.csv", "a,b"),
        _write(
            tmp_path / "shop.ts",
            "import { x } from './lib/auth.js';\n"
            "const data: string = open('./data files/ü.csv');\n"
            "export default function () { console.log(x); }\n",
        ),
    ]
    script = await _look(files[-1], binary=binary)
    assert script.dependencies == {str(path): digest_of(path) for path in files}
    assert unchanged(script.dependencies)
    _write(files[2], "a,c")
    assert not unchanged(script.dependencies)
    files[2].unlink()
    assert not unchanged(script.dependencies)


def test_nothing_known_is_not_unchanged() -> None:
    """A script of which no dependency is known has to be looked at."""
    assert not unchanged({})


@both
@pytest.mark.parametrize(
    "name",
    [
        "with spaces.js",
        'it\'s "quoted".js',
        "-leading-dash.js",
        "Ümläut-日本.js",
        "50%25.js",
        "a#b?c.js",
        "[bold]x[/].js",
        "back\\slash.js",
        "new\nline.js",
        "dollar$(HOME).js",
    ],
)
async def test_any_name_can_be_looked_at(tmp_path: Path, binary: Path, name: str) -> None:
    """Whatever a file system takes as a name: the script is a test and depends on itself."""
    path = _write(tmp_path / name, EMPTY)
    script = await _look(path, binary=binary)
    assert (script.kind, script.error) == (Kind.TEST, None)
    assert script.dependencies == {str(path): digest_of(path)}


@both
async def test_a_symlinked_script_knows_where_it_really_is(tmp_path: Path, binary: Path) -> None:
    """An edit of the link's target is a change of one of the dependencies."""
    real = _write(tmp_path / "elsewhere" / "real.js", EMPTY)
    link = tmp_path / "link.js"
    link.symlink_to(real)
    script = await _look(link, binary=binary)
    assert script.kind is Kind.TEST
    assert unchanged(script.dependencies)
    _write(real, "// edited\n" + EMPTY)
    assert not unchanged(script.dependencies)


async def test_the_fingerprint_follows_contents_alone(tmp_path: Path) -> None:
    """Another place, another time, another override: the same; another byte anywhere: another."""
    for folder in ("one", "two"):
        _write(tmp_path / folder / "lib.js", "export const x = 1;")
        _write(tmp_path / folder / "s.js", "import { x } from './lib.js';\n" + EMPTY)
    first = await _look(tmp_path / "one" / "s.js")
    os.utime(tmp_path / "one" / "s.js", (1, 1))
    moved = await _look(tmp_path / "two" / "s.js")
    more = await _look(tmp_path / "one" / "s.js", options={"vus": "2", "iterations": "2"})
    assert first.fingerprint == moved.fingerprint == more.fingerprint
    _write(tmp_path / "two" / "lib.js", "export const x = 2;")
    assert (await _look(tmp_path / "two" / "s.js")).fingerprint != first.fingerprint


async def test_the_workload_tells_what_compares(tmp_path: Path) -> None:
    """An edit keeps it; another number of VUs, another variable or another k6 makes a new one."""
    path = _write(tmp_path / "s.js", "export const options = { vus: 2, duration: '1s' };\n" + EMPTY)

    async def workload(**more: Mapping[str, str] | Path) -> str:
        script = await _look(path, **more)  # type: ignore[arg-type]
        assert script.snapshot is not None
        return script.snapshot.workload

    first = await workload()
    others = [
        await workload(options={"vus": "3"}),
        await workload(options={"duration": "2s"}),
        await workload(extra={"BASE_URL": "http://other"}),
        await workload(binary=BINARIES["0.57.0"]),
    ]
    assert len({first, *others}) == 5
    _write(path, "// edited\n" + path.read_text() + "const y = 1;\n")
    assert await workload() == first


async def test_a_snapshot_is_named_by_what_runs(tmp_path: Path) -> None:
    """Equal contents and options give one archive; options given beside them another."""
    path = _write(tmp_path / "s.js", EMPTY)
    ids = []
    for options in ({}, {}, {"vus": "3", "iterations": "3"}):
        snapshot = (await _look(path, options=options)).snapshot
        assert snapshot is not None
        ids.append(snapshot.id)
    assert ids[0] == ids[1] != ids[2]


@both
async def test_the_scripts_own_settings_come_as_they_were_written(
    tmp_path: Path, binary: Path
) -> None:
    """`options.ext.k6d` reaches us unjudged, and the trend stats that handleSummary wants."""
    text = (
        "export const options = { summaryTrendStats: ['p(42)'],"
        " ext: { k6d: { timeuot: '5s', n: [1] } } };\n" + EMPTY
    )
    script = await _look(_write(tmp_path / "s.js", text), binary=binary)
    assert script.raw_settings == {"timeuot": "5s", "n": [1]}
    assert script.options["summaryTrendStats"] == ["p(42)"]
    assert (await _look(_write(tmp_path / "t.js", EMPTY), binary=binary)).raw_settings is None


async def test_a_value_of_the_environment_is_nowhere_in_the_archive(tmp_path: Path) -> None:
    """The script may read it while it is looked at; the snapshot has no byte of it."""
    text = "if (!__ENV.TOKEN) throw new Error('none');\n" + EMPTY
    script = await _look(_write(tmp_path / "s.js", text), env={"TOKEN": "hunter2-hunter2"})
    assert script.archive is not None
    assert b"hunter2" not in script.archive.read_bytes()


async def test_a_file_that_cannot_be_read_is_a_users_error(tmp_path: Path) -> None:
    """It may vanish between the event and the look."""
    with pytest.raises(K6dError, match=r"gone\.js cannot be read: check"):
        await _look(tmp_path / "gone.js")


def test_paths_below_home_are_known_by_their_real_name() -> None:
    """k6 writes /home/nobody for any /home/NAME; dependencies have the name that is true here."""
    member = "/home/nobody/k6/lib.js"
    assert on_this_machine(member, Path("/home/ann/k6/s.js")) == "/home/ann/k6/lib.js"
    assert on_this_machine(member, Path(r"/home/a\1/k6/s.js")) == r"/home/a\1/k6/lib.js"
    assert on_this_machine(member, Path("/srv/s.js")) == member
    assert on_this_machine("/srv/lib.js", Path("/home/ann/s.js")) == "/srv/lib.js"


@pytest.fixture
def home_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder /home/NAME where this user may make one, else any other."""
    if not os.access("/home", os.W_OK):
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="k6d-test-", dir="/home"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@both
async def test_a_script_below_home_is_looked_at_and_runs(home_folder: Path, binary: Path) -> None:
    """With a module and a data file, by their real paths, and from the archive as well."""
    files = [
        _write(home_folder / "k6" / "lib" / "x.js", "export const x = open('../x.csv');"),
        _write(home_folder / "k6" / "x.csv", "a,b"),
        _write(
            home_folder / "k6" / "s.js",
            "import { x } from './lib/x.js';\nexport default function () { console.log(x); }\n",
        ),
    ]
    script = await _look(files[-1], binary=binary)
    assert script.dependencies == {str(path): digest_of(path) for path in files}
    bare = await bare_run(files[-1], binary=binary)
    assert bare.ended.exit_code == 0
    assert "console a,b" in bare.log.head


def test_a_script_is_named_by_its_path_in_the_folder() -> None:
    """Relative in the folder, absolute outside of it."""
    root = Path("/srv/scripts")
    assert name_of(root / "shop" / "cart.js", root) == "shop/cart.js"
    assert name_of(Path("/srv/scripts2/cart.js"), root) == "/srv/scripts2/cart.js"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"duration": "4s", "vus": 2}, 4),
        ({"stages": [{"duration": "5s", "target": 2}, {"duration": "1m0s", "target": 0}]}, 65),
        ({"duration": "10m", "iterations": 5}, None),
        ({}, None),
        (
            {
                "scenarios": {
                    "a": {
                        "executor": "ramping-vus",
                        "startTime": "3s",
                        "stages": [{"duration": "5s"}],
                    },
                    "b": {"executor": "constant-arrival-rate", "duration": "7s"},
                }
            },
            8,
        ),
        ({"scenarios": {"a": {"executor": "per-vu-iterations", "iterations": 3}}}, None),
    ],
)
def test_how_long_a_script_usually_takes(
    options: dict[str, object], expected: float | None
) -> None:
    """Until its last scenario stops gracefully; unknown where iterations decide."""
    assert archive._expected_s(options) == expected
