"""The helper process that sends to one receiver through Apprise; `apprise_client` starts it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import re
import signal
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import apprise
import apprise.manager_plugins
import apprise.plugins.base
import orjson
from apprise.attachment.memory import AttachMemory

from k6d.alerts.delivery import slack
from k6d.alerts.delivery.png import png
from k6d.alerts.delivery.render import PICTURE, without_picture
from k6d.alerts.delivery.responses import Heard, Wire
from k6d.alerts.records import Chart, Outcome, Point, Receiver
from k6d.core import memory, worker
from k6d.core.text import printable
from k6d.storage.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]{1,20})://")
PLACE = re.compile(r"entry #\d+(, item #\d+)?|line \d+")  # in what Apprise says of a file
MAX_ERROR = 300
SPLIT_FROM = 1000  # characters that a service takes at least, for a long message to become several
WAITED_SHARE = 0.8  # of the time-out, so that a plugin gives up, and says why, before we do
BODY_SHARE = 0.1  # of the time-out, for the body of an answer whose status is known


def main() -> None:
    """Answer one request: list the receivers, or send to one of them."""
    worker.serve(_answer)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the time-out ends us; half a message helps nobody
    return _list(request) if request["what"] == "list" else asdict(_send(request))


def _list(request: dict[str, Any]) -> dict[str, Any]:
    problems: list[tuple[str, str]] = []
    receivers = {r.id: r for r, _ in _plugins(request, problems)}
    return {"receivers": [asdict(r) for r in receivers.values()], "problems": problems}


def _plugins(
    request: dict[str, Any], problems: list[tuple[str, str]]
) -> Iterator[tuple[Receiver, Any]]:
    """Every URL that Apprise understands; the others are added to `problems`."""
    config = request["config"] and Path(request["config"])
    texts = [*request["urls"], _text(config)] if config else request["urls"]
    _load_only({schema for text in texts for schema in SCHEMA.findall(text)})
    for number, url in enumerate(request["urls"], 1):
        plugin = apprise.Apprise.instantiate(url)
        if plugin is None:
            match = SCHEMA.match(url.strip())
            schema = f"schema {match[1]}://" if match else "it has no schema://"
            problems.append((f"URL {number}", f"Apprise does not understand it ({schema})"))
        else:
            yield _receiver(plugin, request["key"]), plugin
    if config:
        yield from _of_file(config, request["key"], problems)


def _of_file(
    config: Path, key: str, problems: list[tuple[str, str]]
) -> Iterator[tuple[Receiver, Any]]:
    """Every URL of the Apprise file; whatever keeps others from being known is a problem."""
    said: list[str] = []
    with _hearing(said):
        found = list(apprise.AppriseConfig(paths=str(config)).services())
    wrong = [f"{match[0]} is not understood" for s in said if (match := PLACE.search(s))]
    if error := _unread(config):
        problems.append((str(config), f"cannot be read: {error}"))
    elif not found:
        problems.append((str(config), "holds no URL that Apprise understands"))
    elif said:
        why = "; ".join(dict.fromkeys(wrong)) or "a URL is not understood"
        problems.append((str(config), why))
    for plugin in found:
        yield _receiver(plugin, key), plugin


def _unread(config: Path) -> str | None:
    """Why the file cannot be read."""
    try:
        config.read_bytes()
    except OSError as error:
        return error.strerror or "no access"
    return None


@contextlib.contextmanager
def _hearing(said: list[str]) -> Iterator[None]:
    """Keep what Apprise warns of meanwhile; nobody else hears it, for it can hold a URL whole."""
    logger, heard = logging.getLogger("apprise"), Heard(said)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(heard)
    try:
        yield
    finally:
        logger.removeHandler(heard)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _load_only(schemas: set[str]) -> None:
    """Let Apprise import the plugins of these schemas instead of all 200, which takes far longer.

    It imports the modules that it finds names of in a folder: ours has but a few. A plugin that
    says its schema in some other way than the others is not found; then all are imported.
    """
    manager: Any = vars(apprise.manager_plugins)["NotificationManager"]()
    folder = Path(manager.module_path)
    wanted = "|".join(re.escape(schema.lower()) for schema in schemas)
    says = re.compile(rf"protocol\s*=[^=]{{0,120}}?[\"'](?:{wanted})[\"']")
    found = {
        path.relative_to(folder).parts[0]
        for path in (*folder.glob("[a-z]*.py"), *folder.glob("[a-z]*/*.py"))
        if path.name != "__init__.py" or path.parent != folder
        if says.search(path.read_text(encoding="utf-8"))
    }
    with tempfile.TemporaryDirectory() as names:
        for name in found:
            (Path(names) / name).touch()
        manager.load_modules(path=names, name=manager.module_name_prefix)
    if schemas <= set(manager.schemas()):
        manager.module_path = names  # what it takes for loaded
    else:
        manager.unload_modules()


def _receiver(plugin: Any, key: str) -> Receiver:
    return Receiver(
        id=_digest(key, plugin.url(privacy=False))[:16],
        label=_label(plugin.url(privacy=True)),
        tags=sorted(str(tag) for tag in plugin.tags),
    )


def _label(redacted: str) -> str:
    """A receiver without secrets: what Apprise redacts, without user, parameters and paths.

    A path is a secret for webhooks, and Apprise shows that of json://; what stays of it are
    channels, addresses and what is masked already.
    """
    parts = urlsplit(redacted.partition("?")[0])
    host = parts.netloc.rpartition("@")[2]
    tail = unquote(redacted.partition("?")[0].partition("://")[2].partition("/")[2])
    shown = [
        piece
        if piece[:1] in "#@" or "@" in piece or re.fullmatch(r".?(\.\.\.|\*+).?", piece)
        else "…"
        for piece in tail.split("/")
        if piece
    ]
    return "/".join([f"{parts.scheme}://{host}", *shown])[:120]


class _Reached(set[Any]):
    """Those behind one URL who have the message, as keyed hashes: the plugin skips them.

    Each is written down at once, by `note`: the next one may hang until we are ended.
    """

    def __init__(self, key: str, digests: list[str], note: Callable[[list[str]], None]) -> None:
        super().__init__()
        self._key, self.digests, self._note = key, list(digests), note

    def __contains__(self, slot: object) -> bool:
        return self._digested(slot) in self.digests

    def add(self, slot: Any) -> None:
        if slot not in self:
            self.digests.append(self._digested(slot))
            self._note(self.digests)

    def _digested(self, slot: object) -> str:
        """The same in every process: Apprise's sign for a whole piece is a nameless object."""
        return _digest(self._key, re.sub(r" at 0x[0-9a-f]+", "", repr(slot)))


def _send(request: dict[str, Any]) -> Outcome:
    sending, path = request["sending"], request["path"] and Path(request["path"])

    def note(**more: Any) -> None:
        if path:
            record = sending | {"begun": True} | more
            write_atomic(path, orjson.dumps(record, option=orjson.OPT_UTC_Z), root=path.parents[2])

    found = (p for r, p in _plugins(request, []) if r.id == sending["receiver"])
    plugin = next(found, None)
    if plugin is None:
        error = "it is no longer among the receivers; “k6d outbox --retry” asks those there are"
        outcome = Outcome(at=datetime.now(UTC), delivered=False, error=error)
    else:
        note()
        key = request["key"]
        wire = Wire(body_s=request["timeout_s"] * BODY_SHARE)
        wire.tap()
        reached = _Reached(key, sending["reached"], lambda digests: note(reached=digests))
        with _hearing(wire.said):  # not before: it speaks of other URLs while it reads them
            try:
                delivered = _notify(plugin, request, reached)
            except MemoryError:
                delivered = False
                wire.failed(f"it takes more than {memory.HELPER_MIB} MiB of memory", unsure=True)
        outcome = _outcome(wire, delivered, reached, secrets=_secrets(plugin))
    note(outcome=outcome)
    return outcome


def _notify(plugin: Any, request: dict[str, Any], reached: _Reached) -> bool:
    """Give the message to the plugin, in the best of the forms that it understands."""
    rendered, key = request["rendered"], request["sending"]["key"]
    programs = type(plugin).__module__.startswith("apprise.plugins.custom_")  # json:// and such
    formats = () if programs else (apprise.NotifyFormat.MARKDOWN, apprise.NotifyFormat.HTML)
    form = next((f for f in formats if plugin.resolve_format(f) is f), apprise.NotifyFormat.TEXT)
    body = rendered[form.value]
    title, attach = rendered["title"], None
    _be_patient(plugin, request["timeout_s"])
    if type(plugin).__module__.startswith("apprise.plugins.email"):
        from k6d.alerts.delivery import email  # its imports take as long as those of Apprise

        email.prepare(plugin, rendered, key)
        email.mail_each_once(reached)
        if form is apprise.NotifyFormat.HTML and rendered["chart"]:
            picture = AttachMemory(  # type: ignore[no-untyped-call]
                content=png(_chart(rendered["chart"])), name=PICTURE, mimetype="image/png"
            )
            attach = apprise.AppriseAttachment(picture)
    if form is apprise.NotifyFormat.HTML and attach is None:
        body = without_picture(body)
    if type(plugin).__name__ == "NotifySlack":
        title = slack.prepare(plugin, title)
    if programs:
        plugin.headers["Idempotency-Key"] = key
    tracker = getattr(apprise.plugins.base, "_delivery_tracker", None)
    if tracker is not None:
        tracker.set(reached)
    try:
        return bool(
            plugin.notify(
                title=title,
                body=body,
                body_format=form,
                notify_type=rendered["level"],
                attach=attach,
                overflow=_overflow(plugin, title + body),
            )
        )
    except apprise.exception.AppriseException:
        return False


def _overflow(plugin: Any, text: str) -> Any:
    """Several messages where the service takes no such long one, and would refuse it for ever.

    Not where it is about text messages to phones, of which a digest would take twenty.
    """
    asked = plugin.overflow_mode
    long = SPLIT_FROM <= plugin.body_maxlen < len(text)
    return apprise.OverflowMode.SPLIT if long and asked is type(plugin).overflow_mode else asked


def _be_patient(plugin: Any, timeout_s: float) -> None:
    """Give the receiver most of the time-out, where its URL doesn't say otherwise.

    Apprise waits 4 seconds for an answer; a receiver that takes 5 would get the message again.
    """
    for name in ("socket_read_timeout", "socket_connect_timeout"):
        if getattr(plugin, name) == getattr(type(plugin), name):
            setattr(plugin, name, max(timeout_s * WAITED_SHARE, 0.5))


def _chart(raw: dict[str, Any]) -> Chart:
    points = [
        Point(at=datetime.fromisoformat(p["at"]), value=p["value"], bad=p["bad"])
        for p in raw["points"]
    ]
    return Chart(title=raw["title"], unit=raw["unit"], points=points)


def _outcome(wire: Wire, delivered: bool, reached: _Reached, *, secrets: set[str]) -> Outcome:
    now = datetime.now(UTC)
    if delivered:
        return Outcome(at=now, delivered=True)
    said = " ".join(" ".join(wire.said).split())
    error = wire.error or wire.cut or said or "the receiver did not take it"
    for secret in sorted(secrets, key=len, reverse=True):
        error = error.replace(secret, "…")
    return Outcome(
        at=now,
        delivered=False,
        error=printable(error)[:MAX_ERROR],
        unsure=wire.unsure or error == wire.cut,
        retry_after_s=wire.retry_after_s,
        reached=reached.digests,
    )


def _secrets(plugin: Any) -> set[str]:
    """Every part of the URL that may be a secret: all but schema, host and port."""
    url = plugin.url(privacy=False)
    parts = urlsplit(url)
    public = {parts.scheme, parts.hostname or "", str(parts.port or "")}
    if plugin.host != parts.hostname or plugin.schema == "slack":
        public = {parts.scheme}
    pieces = {p for p in re.split(r"[/?&=@:#,;+]+", url.partition("://")[2]) if len(p) > 3}
    return {form for p in pieces for form in (p, unquote(p))} - public


def _digest(key: str, text: str) -> str:
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()[:32]


if __name__ == "__main__":
    main()
