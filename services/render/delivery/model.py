"""Decisions: messages, or the reasons why there is none; and the leases under which they are handed out.

Every entry or trigger that starts a campaign becomes one decision, named by the campaign and the
cause.
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from services.render.campaigns.model import Campaign, Start
from services.render.model import MICROS
from services.render.model.mailboxes import address_of
from services.render.model.people import Person, Stream, forbidden_because

_UNSUBSCRIBE_POST = "List-Unsubscribe=One-Click"


class Outcome(IntEnum):
    """What became of a decision, numbered as in the contract."""

    RENDERED = 1
    MISSED = 2
    SUPPRESSED = 3
    FAILED = 4


class DeliveryState(IntEnum):
    """How the delivery of a message stands, numbered as in the contract."""

    NOTHING = 0
    PENDING = 1
    LEASED = 2
    ACKNOWLEDGED = 3
    REJECTED = 4
    WITHDRAWN = 5


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
    event_name: str = ""
    trusted: bool = True
    """Whether it came with a server's key; what came with a public one, anybody may have made up."""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says."""

    parts: Mapping[str, str]
    """By the part's name, all four."""
    headers: Sequence[tuple[str, str]]
    event: bytes = b""
    """JSON object: the properties of the deciding event, where they are not too many to be kept."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one cause and one campaign."""

    campaign: Campaign
    cause: Cause
    outcome: Outcome
    time: int
    reason: str = ""
    address: str = ""
    template_version: int = 0
    model_version: int = 0
    profile_revision: int = 0
    inputs_hash: bytes = b""
    omitted: Sequence[str] = ()
    """Ingredients that were left out, each with the reason."""
    content: Content | None = None
    test: bool = False
    """Whether somebody tries the campaign out: then consent and the person's address don't matter."""

    @property
    def message_id(self) -> str:
        """A UUID, the same whoever decides."""
        return str(uuid.UUID(bytes=_name(self.campaign, self.cause)[:16]))

    @property
    def idempotency_key(self) -> str:
        """What an ESP recognises a repeated delivery by."""
        return _name(self.campaign, self.cause).hex()

    @property
    def expire_time(self) -> int:
        """After this it is not to be handed out."""
        return self.time + self.campaign.expire_after_seconds * MICROS

    @property
    def message(self) -> "Message":
        """As it is stored and published."""
        campaign, cause, content = self.campaign, self.cause, self.content
        rendered = self.outcome is Outcome.RENDERED
        return Message(
            message_id=self.message_id,
            idempotency_key=self.idempotency_key,
            profile_id=cause.profile_id,
            address=self.address,
            sender=campaign.sender,
            reply_to=campaign.reply_to,
            stream=campaign.stream,
            campaign_id=campaign.campaign_id,
            campaign_version=campaign.version,
            definition_id=cause.definition_id,
            cause_id=cause.cause_id,
            cause_time=cause.time,
            event_name=cause.event_name,
            template_id=campaign.template_id,
            template_version=self.template_version,
            inputs_hash=self.inputs_hash,
            model_version=self.model_version,
            profile_revision=self.profile_revision,
            created=self.time,
            expires=self.expire_time,
            outcome=self.outcome,
            reason=self.reason,
            state=DeliveryState.PENDING if rendered else DeliveryState.NOTHING,
            omitted=self.omitted,
            test=self.test,
            content=content,
        )


def _name(campaign: Campaign, cause: Cause) -> bytes:
    """An effect is named by its cause: absorbed and survivor can't both mail."""
    return hashlib.sha256(b"message\0" + campaign.campaign_id.encode() + b"\0" + cause.cause_id).digest()


@dataclass(frozen=True, slots=True)
class Message:
    """A decision as it is kept, and how its delivery stands."""

    message_id: str
    idempotency_key: str
    profile_id: str
    address: str
    sender: str
    reply_to: str
    stream: Stream
    campaign_id: str
    campaign_version: int
    definition_id: str
    cause_id: bytes
    cause_time: int
    event_name: str
    template_id: str
    template_version: int
    inputs_hash: bytes
    model_version: int
    profile_revision: int
    created: int
    expires: int
    outcome: Outcome
    reason: str
    state: DeliveryState
    omitted: Sequence[str]
    test: bool
    content: Content | None
    """None where nothing was rendered, or it is kept no longer."""

    @property
    def rfc5322_message_id(self) -> str:
        """The Message-ID, of the sender's domain."""
        domain = address_of(self.sender).rpartition("@")[2]
        return f"<{self.idempotency_key[:40]}@{domain}>"


@dataclass(frozen=True, slots=True)
class Lease:
    """A message and what it is held under."""

    message_id: str
    lease_id: str


@dataclass(frozen=True, slots=True)
class Granted:
    """A message under a lease."""

    lease: Lease
    end_time: int
    attempt: int
    message: Message
    withdrawn: str
    """Why it was withdrawn while somebody else had it; empty where it was not."""


def withdrawn_because(granted: Granted, person: Person | None) -> str | None:
    """Why a rendered message must not be handed out any more; None where it may be."""
    message = granted.message
    if granted.withdrawn:
        return granted.withdrawn
    if message.content is None:
        return "what it says is not kept any more"
    if message.test:
        return None
    if person is None:
        return "nobody has this profile any more"
    if person.unreadable:
        return person.unreadable
    if not person.has_address(message.address):
        return "the address is no longer this person's"
    return forbidden_because(message.stream, person)


def headers_of(unsubscribe_url: str) -> list[tuple[str, str]]:
    """RFC 8058: one click unsubscribes, and only a POST does."""
    if not unsubscribe_url:
        return []
    return [("List-Unsubscribe", f"<{unsubscribe_url}>"), ("List-Unsubscribe-Post", _UNSUBSCRIBE_POST)]
