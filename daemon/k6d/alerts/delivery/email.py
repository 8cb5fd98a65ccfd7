"""Mails: an identity that stays the same over attempts, our plain text, each address once."""

from __future__ import annotations

import smtplib
from typing import TYPE_CHECKING, Any

import apprise
import apprise.plugins.email.base as mail

if TYPE_CHECKING:
    from apprise.plugins.email.base import NotifyEmail


def prepare(plugin: NotifyEmail, rendered: dict[str, Any], key: str) -> None:
    """Give the mail a Message-ID made from `key`, the plain text of `rendered`, and its thread.

    Apprise would make a new Message-ID for each attempt, and the plain text out of the HTML.
    """
    convert = vars(mail)["convert_between"]

    def plain(source: Any, target: Any, content: str) -> Any:
        if target == apprise.NotifyFormat.TEXT:
            return rendered["text"]
        return convert(source, target, content)

    def message_id(domain: str | None = None) -> str:
        return f"<{key}@{domain or 'k6d'}>"

    vars(mail).update(make_msgid=message_id, convert_between=plain)
    plugin.inline = True
    if rendered["thread"]:
        plugin.headers["References"] = f"<{rendered['thread']}@k6d>"


def mail_each_once(reached: set[Any]) -> None:
    """Leave out the addresses in `reached`, and add each address that the mail server took.

    Of several addresses (cc, bcc) one may be refused; the others do not get the mail again.
    """
    sendmail = smtplib.SMTP.sendmail

    def to_the_rest(
        session: Any, sender: str, recipients: list[str], text: str
    ) -> dict[str, tuple[int, bytes]]:
        left = [address for address in recipients if ("mailed", address) not in reached]
        refused = sendmail(session, sender, left, text) if left else {}
        for address in left:
            if address not in refused:
                reached.add(("mailed", address))
        return refused

    smtplib.SMTP.sendmail = to_the_rest  # type: ignore[method-assign, assignment]
