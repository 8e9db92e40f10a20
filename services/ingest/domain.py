"""What makes an event acceptable, and what it becomes: plain Python.

The protocol is the Segment specification's; what a client can get wrong is refused here, with the
name of the field, so that nothing malformed reaches the log. Events are msgspec structs: they are made
in a fraction of a dataclass's time.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec
import orjson
from msgspec.structs import replace

from libs.addresses import normal_email, normal_phone
from libs.errors import Invalid, Malformed, Required, TooLarge

MOST_EVENT_BYTES = 32_768
MOST_BATCH_BYTES = 512_000
MOST_BATCH_EVENTS = 2_500
_MOST_ID = 255
_MOST_MESSAGE_ID = 100
_MOST_PURPOSES = 20
_MOST_DEPTH = 32
# A client whose clock runs ahead by more gets the receive time.
_MOST_AHEAD = 5 * 60 * 1_000_000

# What these say about consent, whoever sends them.
_WITHDRAWALS = frozenset({"Unsubscribed", "Email Marked as Spam"})
# ESP activity names its person by this property.
_EMAIL_EVENTS = ("Email ", "Unsubscribed")

ANALYTICS = "analytics"
EMAIL_MARKETING = "email_marketing"


class EventType(Enum):
    """The calls of the Segment specification."""

    IDENTIFY = "identify"
    TRACK = "track"
    PAGE = "page"
    SCREEN = "screen"
    GROUP = "group"
    ALIAS = "alias"
    CONSENT = "consent"


_TYPES = {kind.value: kind for kind in EventType}


@dataclass(frozen=True, slots=True)
class Source:
    """A place where events come from."""

    source_id: str
    trusted: bool
    """A server; False for a browser, whose key is public."""
    write_key: str
    default_consent: Mapping[str, bool] = field(default_factory=dict)


class Incoming(msgspec.Struct, gc=False):
    """An event as a client sent it, whatever the protocol. Times are microseconds since 1970."""

    type: str
    message_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    email: str | None = None
    phone: str | None = None
    previous_id: str | None = None
    group_id: str | None = None
    name: str | None = None
    time: int | None = None
    sent_at: int | None = None
    properties: bytes = b""
    traits: bytes = b""
    context: bytes = b""
    consent: Mapping[str, bool] = msgspec.field(default_factory=dict)


class Collected(msgspec.Struct, frozen=True, gc=False):
    """An accepted event. Times are microseconds since 1970."""

    event_id: bytes
    source: Source
    message_id: str
    type: EventType
    name: str
    user_id: str
    anonymous_id: str
    email: str
    phone: str
    previous_id: str
    group_id: str
    event_time: int
    original_time: int | None
    received_time: int
    properties: bytes
    traits: bytes
    context: bytes
    consent: Mapping[str, bool]

    @property
    def key(self) -> str:
        """Whose order matters: a device's stream stays whole through a login."""
        return self.anonymous_id or self.user_id or self.previous_id or self.email or self.phone


def accept(incoming: Incoming, source: Source, received: int, new_message_id: str) -> Collected:
    """Check an event and bring it into its normal form; Invalid names the field that is wrong."""
    kind = _type_of(incoming)
    _check_texts(incoming)
    traits = _object("traits", incoming.traits)
    context = _object("context", incoming.context)
    properties = _object("properties", incoming.properties)
    email, phone = _addresses(incoming, kind, traits, context, properties)
    consent = _consent(incoming, context)
    _check_identity(incoming, kind, source, bool(email or phone))
    event_time = _event_time(incoming, received)
    message_id = incoming.message_id or new_message_id
    collected = Collected(
        event_id=event_id(source.source_id, message_id),
        source=source,
        message_id=message_id,
        type=kind,
        name=incoming.name or "",
        user_id=incoming.user_id or "",
        anonymous_id=incoming.anonymous_id or "",
        email=email,
        phone=phone,
        previous_id=(incoming.previous_id or "") if kind is EventType.ALIAS else "",
        group_id=incoming.group_id or "",
        event_time=event_time,
        original_time=None if incoming.time == event_time else incoming.time,
        received_time=received,
        properties=incoming.properties if properties else b"",
        traits=incoming.traits if traits else b"",
        context=incoming.context if context else b"",
        consent=consent,
    )
    allowed = consent.get(ANALYTICS, source.default_consent.get(ANALYTICS, True))
    return collected if allowed else _only_consent(collected)


def event_id(source_id: str, message_id: str) -> bytes:
    """16 bytes that name an event for ever."""
    return hashlib.blake2b(f"{source_id}\0{message_id}".encode(), digest_size=16).digest()


def _only_consent(collected: Collected) -> Collected:
    """All that may be kept where analytics is denied: that it is."""
    return replace(
        collected, type=EventType.CONSENT, name="", group_id="", properties=b"", traits=b"", context=b""
    )


def _type_of(incoming: Incoming) -> EventType:
    if not incoming.type:
        raise Required("type", "is required")
    kind = _TYPES.get(incoming.type)
    if kind is None:
        raise Invalid("type", f"is none of {', '.join(_TYPES)}")
    if kind is EventType.TRACK and not incoming.name:
        raise Required("event", "is required for track")
    if kind is EventType.GROUP and not incoming.group_id:
        raise Required("groupId", "is required for group")
    if kind is EventType.ALIAS and not (incoming.previous_id and incoming.user_id):
        raise Required("previousId", "is required for alias, with the user id")
    return kind


def _check_texts(incoming: Incoming) -> None:
    _check_text("messageId", incoming.message_id, _MOST_MESSAGE_ID)
    _check_text("userId", incoming.user_id)
    _check_text("anonymousId", incoming.anonymous_id)
    _check_text("previousId", incoming.previous_id)
    _check_text("groupId", incoming.group_id)
    _check_text("event", incoming.name)


def _check_text(name: str, text: str | None, most: int = _MOST_ID) -> None:
    if text is None:
        return
    if len(text) > most:
        raise TooLarge(name, f"has {len(text)} characters, {most} are allowed")
    if "\0" in text:
        raise Invalid(name, "contains the character U+0000")


def _object(name: str, text: bytes) -> dict[str, Any]:
    """A JSON object that a database can hold."""
    if not text:
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Malformed(name, f"is not valid JSON: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(name, "must be a JSON object")
    # The text tells cheaply where a closer look is needed at all.
    if b"\\u0000" in text or text.count(b"{") + text.count(b"[") > _MOST_DEPTH:
        _check_value(name, value, 0)
    return value


def _check_value(name: str, value: Any, depth: int) -> None:
    if depth > _MOST_DEPTH:
        raise TooLarge(name, f"is nested more than {_MOST_DEPTH} levels deep")
    if isinstance(value, str) and "\0" in value:
        raise Invalid(name, "contains the character U+0000")
    if isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                raise Invalid(name, "has a name with the character U+0000")
            _check_value(f"{name}.{key}", item, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(f"{name}[{index}]", item, depth + 1)


def _addresses(
    incoming: Incoming,
    kind: EventType,
    traits: Mapping[str, Any],
    context: Mapping[str, Any],
    properties: Mapping[str, Any],
) -> tuple[str, str]:
    """The email address and phone number that identify the event's person, in normal form."""
    known = [("traits", traits)] if kind is EventType.IDENTIFY else []
    if isinstance(context.get("traits"), dict):
        known.append(("context.traits", context["traits"]))
    if kind is EventType.TRACK and (incoming.name or "").startswith(_EMAIL_EVENTS):
        known.append(("properties", properties))
    email = _first("email", incoming.email, known)
    phone = _first("phone", incoming.phone, known)
    normal = ""
    if email is not None:
        where, text = email
        found = normal_email(text)
        if found is None:
            raise Malformed(where, "is not an email address")
        normal = found
    # A number without its country identifies nobody, but may stay a trait.
    return normal, (normal_phone(phone[1]) or "") if phone else ""


def _first(
    name: str, given: str | None, known: Sequence[tuple[str, Mapping[str, Any]]]
) -> tuple[str, str] | None:
    """The first place that names an address."""
    if given:
        return name, given
    for place, values in known:
        value = values.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise Invalid(f"{place}.{name}", "must be a string")
        return f"{place}.{name}", value
    return None


def _consent(incoming: Incoming, context: Mapping[str, Any]) -> Mapping[str, bool]:
    """What the event itself says of consent; a source's default is nobody's statement."""
    consent = dict(incoming.consent)
    stated = context.get("consent")
    place = "consent"
    if stated is not None:
        place = "context.consent"
        if not isinstance(stated, dict):
            raise Invalid(place, "must be an object")
        preferences = stated.get("categoryPreferences", {})
        place = "context.consent.categoryPreferences"
        if not isinstance(preferences, dict):
            raise Invalid(place, "must be an object")
        for purpose, granted in preferences.items():
            if not isinstance(granted, bool):
                raise Invalid(f"{place}.{purpose}", "must be true or false")
            consent.setdefault(purpose, granted)
    if incoming.name in _WITHDRAWALS and incoming.type == EventType.TRACK.value:
        consent[EMAIL_MARKETING] = False
    if not consent:
        return consent
    if len(consent) > _MOST_PURPOSES:
        raise TooLarge(place, f"names more than {_MOST_PURPOSES} purposes")
    if any(not 1 <= len(purpose) <= _MOST_ID or "\0" in purpose for purpose in consent):
        raise Invalid(place, f"must name purposes by 1 to {_MOST_ID} characters, without U+0000")
    return consent


def _check_identity(incoming: Incoming, kind: EventType, source: Source, has_address: bool) -> None:
    if incoming.user_id or incoming.anonymous_id:
        return
    if not has_address:
        raise Required("userId", "is required, or an anonymous id")
    if not source.trusted:
        raise Required(
            "userId", "is required, or an anonymous id: a browser's word on an address names nobody"
        )


def _event_time(incoming: Incoming, received: int) -> int:
    """When it happened, corrected for the client's clock: received - (sent - claimed)."""
    if incoming.time is None:
        return received
    claimed = incoming.time
    if incoming.sent_at is not None:
        claimed = received - (incoming.sent_at - incoming.time)
    if claimed < 0:
        raise Invalid("timestamp", "lies before 1970")
    return received if claimed > received + _MOST_AHEAD else claimed
