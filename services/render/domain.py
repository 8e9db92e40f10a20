"""What is sent, to whom, and why not: templates, campaigns and decisions as plain Python.

Every entry or trigger that starts a campaign becomes one decision, named by the campaign and the
cause: a message, or the reason why there is none.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parseaddr
from enum import IntEnum
from typing import Any

import orjson

from libs.addresses import normal_email
from libs.errors import Invalid

SUBJECT, PREHEADER, HTML, TEXT = PARTS = ("subject", "preheader", "html", "text")

MICROS = 1_000_000
MOST_RECOMMENDATIONS = 20
_MOST_LINE = 900
_UNSUBSCRIBE_POST = "List-Unsubscribe=One-Click"


class Stream(IntEnum):
    """What kind of mail it is, numbered as in the contract."""

    MARKETING = 1
    TRANSACTIONAL = 2


class Outcome(IntEnum):
    """What became of a decision, numbered as in the contract."""

    RENDERED = 1
    MISSED = 2
    SUPPRESSED = 3
    FAILED = 4


class Start(IntEnum):
    """What starts a campaign."""

    SEGMENT = 1
    TRIGGER = 2


class Unrenderable(Invalid):
    """A template can't be parsed, or not be filled with a context."""

    def __init__(self, part: str, line: int, problem: str) -> None:
        place = f"line {line}: " if line else ""
        super().__init__(f"template.{part}" if part else "template", place + problem)
        self.metadata = {**self.metadata, "part": part, "line": str(line)}


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a template: Liquid for each part. Times are microseconds since 1970."""

    template_id: str
    version: int
    sources: Mapping[str, str]
    """By the part's name, all four."""
    created: int = 0


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is sent, to whom, and when."""

    campaign_id: str
    display_name: str
    start: Start
    definition_id: str
    """The segment's id, or the trigger's."""
    template_id: str
    sender: str
    reply_to: str
    stream: Stream
    max_age_seconds: int
    expire_after_seconds: int
    recommendations: int
    paused: bool


@dataclass(frozen=True, slots=True)
class Cause:
    """An entry into a segment or a trigger that fired: what may start a campaign."""

    profile_id: str
    profile_revision: int
    start: Start
    definition_id: str
    cause_id: bytes
    time: int
    """When it became true, maybe long before it was computed."""
    event: bytes
    """JSON object: the properties of the deciding event; empty where it is not at hand."""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """What a decision needs to know of somebody."""

    profile_id: str
    revision: int
    traits: Mapping[str, Any]
    consent: Mapping[str, bool]
    emails: Sequence[str]
    """The addresses that lead to this profile, in normal form."""
    user_id: str = ""

    @property
    def address(self) -> str | None:
        """Where mail goes: the trait, else the first address that leads here."""
        trait = self.traits.get("email")
        stated = normal_email(trait) if isinstance(trait, str) else None
        return stated or next(iter(self.emails), None)

    def has_address(self, address: str) -> bool:
        """Whether an address is still this person's."""
        return address == self.address or address in self.emails

    @property
    def is_analysable(self) -> bool:
        """Whether what the person did may be made use of for the person."""
        return self.consent.get("analytics", True) and self.is_personalizable

    @property
    def is_personalizable(self) -> bool:
        """Whether mail may be chosen and made for the person."""
        return self.consent.get("personalization", True)


@dataclass(frozen=True, slots=True)
class Advice:
    """What recommend says."""

    recommendations: Sequence[Mapping[str, Any]] = ()
    model_version: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """A rendered message."""

    address: str
    parts: Mapping[str, str]
    headers: Sequence[tuple[str, str]]
    inputs_hash: bytes
    omitted: Sequence[str]
    """Ingredients that were left out, each with the reason."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one cause and one campaign."""

    campaign: Campaign
    cause: Cause
    outcome: Outcome
    time: int
    reason: str = ""
    template_version: int = 0
    model_version: int = 0
    profile_revision: int = 0
    content: Content | None = None

    @property
    def message_id(self) -> str:
        """A UUID, the same whoever decides."""
        return str(uuid.UUID(bytes=_name(self.campaign, self.cause)[:16]))

    @property
    def idempotency_key(self) -> str:
        """What an ESP recognises a repeated delivery by."""
        return _name(self.campaign, self.cause).hex()

    @property
    def rfc5322_message_id(self) -> str:
        """The Message-ID, of the sender's domain."""
        domain = parseaddr(self.campaign.sender)[1].rpartition("@")[2]
        return f"<{self.idempotency_key[:40]}@{domain}>"

    @property
    def expire_time(self) -> int:
        """After this it is not to be handed out."""
        return self.time + self.campaign.expire_after_seconds * MICROS


def _name(campaign: Campaign, cause: Cause) -> bytes:
    """An effect is named by its cause: absorbed and survivor can't both mail."""
    return hashlib.sha256(b"message\0" + campaign.campaign_id.encode() + b"\0" + cause.cause_id).digest()


def matching(campaigns: Sequence[Campaign], cause: Cause) -> list[Campaign]:
    """The campaigns that a cause starts."""
    return [
        c
        for c in campaigns
        if not c.paused and (c.start, c.definition_id) == (cause.start, cause.definition_id)
    ]


def missed_because(campaign: Campaign, cause: Cause, now: int) -> str | None:
    """Why it is too late for this cause; None where it is not."""
    age = now - cause.time
    if age <= campaign.max_age_seconds * MICROS:
        return None
    return f"the cause was {age // MICROS} s old; the campaign allows {campaign.max_age_seconds} s"


def suppressed_because(campaign: Campaign, person: Person | None) -> str | None:
    """Why nothing may be sent; None where it may."""
    if person is None:
        return "nobody has this profile any more"
    if person.address is None:
        return "no email address"
    return forbidden_because(campaign.stream, person)


def forbidden_because(stream: Stream, person: Person) -> str | None:
    """What consent forbids. Mail that belongs to a purchase or an account needs none."""
    if stream is Stream.TRANSACTIONAL:
        return None
    if not person.consent.get("email_marketing", False):
        return "no consent to email_marketing"
    if not person.is_personalizable:
        return "personalization is denied"
    return None


def withdrawn_because(stream: Stream, address: str, person: Person | None) -> str | None:
    """Why a rendered message must not be handed out any more."""
    if person is None:
        return "nobody has this profile any more"
    if not person.has_address(address):
        return "the address is no longer this person's"
    return forbidden_because(stream, person)


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a template is filled with."""

    person: Person
    segments: Sequence[str] = ()
    advice: Advice = field(default_factory=Advice)
    event: bytes = b""
    campaign_id: str = ""
    campaign_name: str = ""
    unsubscribe_url: str = ""


def context_of(ingredients: Ingredients) -> bytes:
    """The template's context as canonical JSON: the same inputs give the same bytes."""
    person = ingredients.person
    context = {
        "profile": {"id": person.profile_id, "traits": person.traits},
        "segments": sorted(ingredients.segments),
        "recommendations": list(ingredients.advice.recommendations),
        "event": orjson.loads(ingredients.event) if ingredients.event else {},
        "campaign": {"id": ingredients.campaign_id, "name": ingredients.campaign_name},
        # In Liquid an empty text is true: `{% if unsubscribe_url %}` asks for nothing at all.
        "unsubscribe_url": ingredients.unsubscribe_url or None,
    }
    return orjson.dumps(context, option=orjson.OPT_SORT_KEYS)


def hash_of(context: bytes) -> bytes:
    """What names a context in the message's explanation."""
    return hashlib.sha256(context).digest()


def finished(parts: Mapping[str, str]) -> dict[str, str]:
    """Rendered parts as a mail can hold them: subject and preheader are one line each."""
    return {
        SUBJECT: _one_line(parts[SUBJECT]),
        PREHEADER: _one_line(parts[PREHEADER]),
        HTML: parts[HTML].replace("\0", ""),
        TEXT: _without_gaps(parts[TEXT].replace("\0", "")),
    }


def _one_line(text: str) -> str:
    # A line break would begin another header.
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:_MOST_LINE]


def _without_gaps(text: str) -> str:
    """Where tags stood, empty lines stay: one is enough."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.strip() or (lines and lines[-1]):
            lines.append(line.rstrip())
    return "\n".join(lines).strip("\n") + "\n"


def headers_of(unsubscribe_url: str) -> list[tuple[str, str]]:
    """RFC 8058: one click unsubscribes, and only a POST does."""
    if not unsubscribe_url:
        return []
    return [("List-Unsubscribe", f"<{unsubscribe_url}>"), ("List-Unsubscribe-Post", _UNSUBSCRIBE_POST)]
