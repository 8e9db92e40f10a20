"""A message as an RFC 5322 mail."""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from html import escape
from typing import Any

from connectors.mailboxes import encoded, mailbox_of
from connectors.pictures import Picture, taken_out
from tessera.render.v1.message_pb2 import Message

_MOST_LINE = 995
_OWN = frozenset({"from", "to", "reply-to", "subject"})


class _Policy(EmailPolicy):
    """Writes the headers that Python would change.

    Links and ids stay on one line: Python folds a long one into encoded words that nobody reads. Mailboxes
    and subjects are written by us: Python drops the quotes of a local part, and spaces between words.
    """

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        if name.lower() in _OWN:
            return name, value
        return super().header_store_parse(name, value)

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return value if name.lower() in _OWN else super().header_fetch_parse(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        whole = f"{name}: {value}"
        if name.lower() in _OWN:
            return f"{whole}\n".replace("\n", "\r\n").encode("ascii")
        if name.lower().startswith("content-") or len(whole) > _MOST_LINE or not whole.isascii():
            return super().fold_binary(name, value)
        return f"{whole}\r\n".encode()


# No byte above 127: any mail server takes it.
_POLICY = _Policy(linesep="\r\n", cte_type="7bit")
# Before its body a page has what only looks like one: in comments for Outlook, in scripts, in attributes.
_BEFORE_BODY = re.compile(
    r"<!--(?:-?>|.*?(?:-->|\Z))|<(script|style|title)\b.*?(?:</\1|\Z)|=\s*(?:\"[^\"]*\"|'[^']*')|<body(?=[\s/>])",
    re.IGNORECASE | re.DOTALL,
)
_END_OF_TAG = re.compile(r"(?:[^>=]|=\s*\"[^\"]*\"|=\s*'[^']*'|=)*+>")
_HIDDEN = "display:none;max-height:0;overflow:hidden;mso-hide:all"
# What mail readers show beside the subject ends where the text ends, not in the middle of the body.
_FILLER = "&#847;&zwnj;&nbsp;" * 60


class Undeliverable(Exception):
    """The message can't be made into a mail, now or ever."""


def mail_of(message: Message) -> bytes:
    """The mail, byte for byte the same each time; Undeliverable where a header can't be written."""
    try:
        return _mail(message).as_bytes()
    except (ValueError, IndexError, UnicodeError) as error:
        raise Undeliverable(f"no mail can be made of it: {error}") from error


def _mail(message: Message) -> EmailMessage:
    mail = EmailMessage(_POLICY)
    mail["From"] = mailbox_of(message.sender).header("From")
    try:
        mail["To"] = mailbox_of(message.to).header("To")
    except ValueError:
        raise Undeliverable("the recipient is not one address in ASCII") from None
    if message.reply_to:
        mail["Reply-To"] = mailbox_of(message.reply_to).header("Reply-To")
    mail["Subject"] = _subject(message.subject)
    mail["Date"] = format_datetime(message.create_time.ToDatetime(UTC))
    mail["Message-ID"] = message.rfc5322_message_id
    for header in message.headers:
        mail[header.name] = header.value
    mail["X-Tessera-Campaign"] = message.campaign_id
    mail["X-Tessera-Message"] = message.message_id
    mail["X-Tessera-Idempotency-Key"] = message.idempotency_key
    boundary = f"=_{hashlib.sha256(message.idempotency_key.encode()).hexdigest()[:32]}"
    html, pictures = taken_out(with_preheader(message.html, message.preheader))
    mail.set_content(message.text)
    mail.add_alternative(html, subtype="html")
    if pictures:
        _attach(mail, pictures, f"{boundary}-html")
    mail.set_boundary(boundary)
    return mail


def _subject(text: str) -> str:
    if len(text.splitlines()) > 1:
        raise ValueError("the subject has more than one line")
    is_plain = text.isascii() and text.isprintable() and "=?" not in text and len(text) < _MOST_LINE
    return text if is_plain else encoded("Subject", text)


def _attach(mail: EmailMessage, pictures: Sequence[Picture], boundary: str) -> None:
    """Put pictures beside the HTML part, which refers to them."""
    part = mail.get_body(("html",))
    assert part is not None
    for picture in pictures:
        part.add_related(
            picture.content, "image", picture.kind, cid=f"<{picture.content_id}>", disposition="inline"
        )
    part.set_boundary(boundary)


def with_preheader(html: str, preheader: str) -> str:
    """The HTML with the preheader first in its body, where mail readers look but nobody sees it."""
    if not preheader:
        return html
    hidden = f'<div style="{_HIDDEN}">{escape(preheader)}{_FILLER}</div>'
    at = _begin_of_body(html)
    return html[:at] + hidden + html[at:]


def _begin_of_body(html: str) -> int:
    """Where the content of the body begins; 0 where there is no such tag."""
    bodies = (part for part in _BEFORE_BODY.finditer(html) if part[0].lower() == "<body")
    body = next(bodies, None)
    tag = body and _END_OF_TAG.match(html, body.end())
    return tag.end() if tag else 0
