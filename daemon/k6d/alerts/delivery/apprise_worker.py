"""The helper process that sends to one receiver through Apprise; `apprise_client` starts it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import re
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
from k6d.alerts.delivery.png import ceiling, png
from k6d.alerts.delivery.render import PICTURE, without_picture
from k6d.alerts.delivery.responses import Responses, WarningCollector
from k6d.alerts.records import Chart, Outcome, Point, Receiver
from k6d.core import fork_server, memory
from k6d.core.numbers import in_unit
from k6d.core.text import printable
from k6d.storage.data_folder import required
from k6d.storage.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]{1,20})://")
PLACE = re.compile(r"entry #\d+(, item #\d+)?|line \d+")  # in what Apprise says of a file
MAX_ERROR = 300
SPLIT_FROM = 1000  # characters; a service that accepts fewer gets no split messages
WAITED_SHARE = 0.8  # of the time-out, so that the plugin gives up first and says why
BODY_SHARE = 0.1  # of the time-out, for the body after the status


def main() -> None:
    """Answer requests: list the receivers, or send to one of them."""
    fork_server.serve(_answer)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if request["what"] == "list":
        return _list(request)
    path = request["path"]
    with required(Path(path).parents[2]) if path else contextlib.nullcontext():
        return asdict(_send(request))


def _list(request: dict[str, Any]) -> dict[str, Any]:
    problems: list[tuple[str, str]] = []
    receivers = {r.id: r for r, _ in _plugins(request, problems)}
    return {"receivers": [asdict(r) for r in receivers.values()], "problems": problems}


def _plugins(
    request: dict[str, Any], problems: list[tuple[str, str]]
) -> Iterator[tuple[Receiver, Any]]:
    """Yield each URL that Apprise understands; add the others to `problems`."""
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
    """Yield each URL of the Apprise file; add what may hide other URLs to `problems`."""
    warnings: list[str] = []
    with _collecting_warnings(warnings):
        found = list(apprise.AppriseConfig(paths=str(config)).services())
    wrong = [f"{match[0]} is not understood" for s in warnings if (match := PLACE.search(s))]
    if error := _unread(config):
        problems.append((str(config), f"cannot be read: {error}"))
    elif not found:
        problems.append((str(config), "holds no URL that Apprise understands"))
    elif warnings:
        why = "; ".join(dict.fromkeys(wrong)) or "a URL is not understood"
        problems.append((str(config), why))
    for plugin in found:
        yield _receiver(plugin, key), plugin


def _unread(config: Path) -> str | None:
    """Return why the file cannot be read; None if it can."""
    try:
        config.read_bytes()
    except OSError as error:
        return error.strerror or "no access"
    return None


@contextlib.contextmanager
def _collecting_warnings(warnings: list[str]) -> Iterator[None]:
    """Collect the warnings of Apprise and log none, because they can contain a whole URL."""
    logger, heard = logging.getLogger("apprise"), WarningCollector(warnings)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(heard)
    try:
        yield
    finally:
        logger.removeHandler(heard)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _load_only(schemas: set[str]) -> None:
    """Let Apprise import only the plugins of these schemas, because all 200 take far longer.

    Apprise imports the modules whose names it finds in a folder, so it gets a folder with a few
    names. If the plugin of a schema is not found by its text, all plugins are imported.
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
    """Return the redacted URL without user, parameters and path.

    The path of a webhook is a secret, and Apprise shows that of json://. Channels, addresses and
    masked parts of the path stay.
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
    """The addresses behind one URL that have the message, as keyed hashes; the plugin skips them.

    `note` stores each at once, because the next address may hang until the time-out.
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
        """Return the hash without memory addresses, so that it is the same in every process."""
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
        responses = Responses(body_s=request["timeout_s"] * BODY_SHARE)
        responses.observe()
        reached = _Reached(key, sending["reached"], lambda digests: note(reached=digests))
        with _collecting_warnings(responses.warnings):  # warnings before this are about other URLs
            try:
                delivered = _notify(plugin, request, reached)
            except MemoryError:
                delivered = False
                responses.failed(
                    f"it takes more than {memory.HELPER_MIB} MiB of memory", unsure=True
                )
        outcome = _outcome(responses, delivered, reached, secrets=_secrets(plugin))
    note(outcome=outcome)
    if outcome.delivered and plugin and request["rendered"]["chart"] and _takes_picture(plugin):
        _send_chart(plugin, _chart(request["rendered"]["chart"]))
    return outcome


def _is_program(plugin: Any) -> bool:
    """Return whether the receiver is a program, for json:// and such, and no person."""
    return type(plugin).__module__.startswith("apprise.plugins.custom_")


def _is_mail(plugin: Any) -> bool:
    return type(plugin).__module__.startswith("apprise.plugins.email")


def _takes_picture(plugin: Any) -> bool:
    """Return whether the chart goes to the receiver after the message.

    In mail it is part of the message. Programs and services for text messages to phones get none.
    Slack takes files from an app's token, and none from an incoming webhook.
    """
    if not plugin.attachment_support or _is_program(plugin) or _is_mail(plugin):
        return False
    is_hook = type(plugin).__name__ == "NotifySlack" and "hook" in plugin.mode
    return plugin.body_maxlen >= SPLIT_FROM and not is_hook


def _send_chart(plugin: Any, chart: Chart) -> None:
    """Send the chart by itself. The delivery is recorded: a failure here repeats no message."""
    tracker = getattr(apprise.plugins.base, "_delivery_tracker", None)
    if tracker is not None:
        tracker.set(None)  # the addresses that have the message do not have the chart
    with _collecting_warnings([]), contextlib.suppress(apprise.exception.AppriseException, OSError):
        plugin.notify(
            body=_caption(chart),
            body_format=apprise.NotifyFormat.TEXT,
            attach=apprise.AppriseAttachment(_picture(chart)),
        )


def _caption(chart: Chart) -> str:
    """Return what the picture shows; there is no text in it."""
    first, last = chart.points[0], chart.points[-1]
    top, now = (in_unit(value, chart.unit) for value in (ceiling(chart), last.value))
    span = f"{first.at:%d %b %H:%M} to {last.at:%d %b %H:%M} UTC"
    return f"{chart.title}: {now} in the last run. The chart: {span}, 0 to {top}"


def _picture(chart: Chart) -> AttachMemory:
    return AttachMemory(  # type: ignore[no-untyped-call]
        content=png(chart), name=PICTURE, mimetype="image/png"
    )


def _notify(plugin: Any, request: dict[str, Any], reached: _Reached) -> bool:
    """Give the message to the plugin in the best format that it supports."""
    rendered, key = request["rendered"], request["sending"]["key"]
    programs = _is_program(plugin)
    formats = () if programs else (apprise.NotifyFormat.MARKDOWN, apprise.NotifyFormat.HTML)
    form = next((f for f in formats if plugin.resolve_format(f) is f), apprise.NotifyFormat.TEXT)
    body = rendered[form.value]
    title, attach = rendered["title"], None
    _be_patient(plugin, request["timeout_s"])
    if _is_mail(plugin):
        from k6d.alerts.delivery import email  # its imports take as long as those of Apprise

        email.prepare(plugin, rendered, key)
        email.mail_each_once(reached)
        if form is apprise.NotifyFormat.HTML and rendered["chart"]:
            attach = apprise.AppriseAttachment(_picture(_chart(rendered["chart"])))
    if form is apprise.NotifyFormat.HTML and attach is None:
        body = without_picture(body)
    if type(plugin).__name__ == "NotifySlack":
        title = slack.prepare(plugin, title, rendered["blocks"])
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
    """Return the mode that splits a text that is longer than the service accepts.

    Services for text messages to phones are left out: a digest would be twenty of them.
    """
    asked = plugin.overflow_mode
    long = SPLIT_FROM <= plugin.body_maxlen < len(text)
    return apprise.OverflowMode.SPLIT if long and asked is type(plugin).overflow_mode else asked


def _be_patient(plugin: Any, timeout_s: float) -> None:
    """Wait for the receiver for most of the time-out, unless its URL sets a time-out.

    Apprise waits for 4 s only; a receiver that needs 5 s would get the message again.
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


def _outcome(
    responses: Responses, delivered: bool, reached: _Reached, *, secrets: set[str]
) -> Outcome:
    now = datetime.now(UTC)
    if delivered:
        return Outcome(at=now, delivered=True)
    warnings = " ".join(" ".join(responses.warnings).split())
    error = responses.error or responses.cut or warnings or "the receiver did not take it"
    for secret in sorted(secrets, key=len, reverse=True):
        error = error.replace(secret, "…")
    return Outcome(
        at=now,
        delivered=False,
        error=printable(error)[:MAX_ERROR],
        unsure=responses.unsure or error == responses.cut,
        retry_after_s=responses.retry_after_s,
        reached=reached.digests,
    )


def _secrets(plugin: Any) -> set[str]:
    """Return each part of the URL that may be a secret: all but schema, host and port."""
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
