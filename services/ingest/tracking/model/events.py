"""What makes an event acceptable, and what it becomes: plain Python.

The protocol is the Segment specification's. What makes an event worthless is refused here, with the name of
the field, so that nothing malformed reaches the log; what spoils only a part of it is left out, and told.
Events are msgspec structs: they are made in a fraction of a dataclass's time.
"""

import hashlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

import msgspec
import orjson
from msgspec.structs import replace

from libs.addresses import normal_email, normal_phone
from libs.errors import Invalid, Malformed, Required, TooLarge
from libs.tracking.calls import Call, LeftOut
from services.ingest.sources.model import Source
from services.ingest.tracking.model.consents import ANALYTICS, MOST_ID, NOTHING, WITHDRAWALS, consent_of

MOST_EVENT_BYTES: Final = 32_768
MOST_BATCH_BYTES: Final = 512_000
MOST_BATCH_EVENTS: Final = 2_500
_MOST_MESSAGE_ID: Final = 100
_MOST_DEPTH: Final = 32
# What is told of one event: an event of nothing but faults must not make a long answer.
_MOST_TOLD: Final = 10
# A client whose clock runs ahead by more gets the receive time.
_MOST_AHEAD: Final = 5 * 60 * 1_000_000

# Segment's Email spec: these name their person by a property. In any other event of somebody a property is
# the shop's to name: the `email` of a gift card is its receiver's.
_EMAIL_EVENTS: Final = frozenset(
    {
        "Email Delivered",
        "Email Opened",
        "Email Link Clicked",
        "Email Bounced",
        "Email Marked as Spam",
        "Unsubscribed",
    }
)
# A clock may run behind by decades, where its battery is empty; none runs ahead by more.
_MOST_SENT_AHEAD: Final = 366 * 86_400 * 1_000_000
_ALIAS: Final = LeftOut(
    "previousId",
    "joins the user id only with an anonymous id: where it is a user id nothing is joined",
    "ALIAS",
)
_encode_object: Final = msgspec.json.Encoder().encode
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class EventType(Enum):
    """The calls of the Segment specification."""

    IDENTIFY = "identify"
    TRACK = "track"
    PAGE = "page"
    SCREEN = "screen"
    GROUP = "group"
    ALIAS = "alias"
    CONSENT = "consent"


_TYPES: Final = {kind.value: kind for kind in EventType}


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
    profile_id: str
    integrations: bytes
    channel: str
    left_out: Sequence[LeftOut]
    """What was not taken from the call, for its sender."""
    purposes_dropped: int = 0
    """How many grants were over the limit."""

    @property
    def key(self) -> str:
        """Whose order matters: a device's stream stays whole through a login."""
        return (
            self.anonymous_id
            or self.user_id
            or self.previous_id
            or self.email
            or self.phone
            or self.profile_id
        )


def accept(call: Call, source: Source, received: int, new_message_id: str) -> Collected:
    """Check an event and bring it into its normal form; Invalid names the field that is wrong."""
    kind = _type_of(call)
    left_out = list(call.left_out)
    _check_texts(call, kind, left_out)
    traits = _object("traits", call.traits)
    context = _object("context", call.context)
    properties = _object("properties", call.properties)
    email = phone = ""
    kept_traits = call.traits
    # Most events name no address and state no consent: looking costs each of them.
    if kind is EventType.IDENTIFY or call.email or call.phone or "traits" in context or _is_email(call):
        addresses = _Addresses(call, kind, left_out)
        email, phone = addresses.read(traits, context, properties)
        kept_traits = addresses.traits
    consent: Mapping[str, bool] = {}
    dropped = 0
    if call.consent or "consent" in context or "consentManagement" in context or call.name in WITHDRAWALS:
        consent, dropped = consent_of(call, context, left_out)
    _check_identity(call, source, bool(email or phone), left_out)
    if kind is EventType.ALIAS:
        left_out.append(_ALIAS)
    event_time = _event_time(call, received, left_out)
    message_id = call.message_id or new_message_id
    collected = Collected(
        event_id=event_id(source.source_id, message_id),
        source=source,
        message_id=message_id,
        type=kind,
        name=call.name or "",
        user_id=call.user_id or "",
        anonymous_id=call.anonymous_id or "",
        email=email,
        phone=phone,
        previous_id=(call.previous_id or "") if kind is EventType.ALIAS else "",
        group_id=call.group_id or "",
        event_time=event_time,
        original_time=None if call.time == event_time else call.time,
        received_time=received,
        properties=call.properties if properties else b"",
        traits=kept_traits if traits else b"",
        context=call.context if context else b"",
        consent=consent,
        profile_id=call.profile_id,
        integrations=_integrations(call, left_out) if call.integrations else b"",
        channel=_channel(call, left_out) if call.channel else "",
        left_out=left_out[:_MOST_TOLD],
        purposes_dropped=dropped,
    )
    allowed = consent.get(ANALYTICS, source.default_consent.get(ANALYTICS, True))
    return collected if allowed else _only_consent(collected)


def event_id(source_id: str, message_id: str) -> bytes:
    """16 bytes that name an event for ever."""
    return hashlib.blake2b(f"{source_id}\0{message_id}".encode(), digest_size=16).digest()


def _only_consent(collected: Collected) -> Collected:
    """All that may be kept where analytics is denied: that it is."""
    return replace(
        collected,
        type=EventType.CONSENT,
        name="",
        group_id="",
        properties=b"",
        traits=b"",
        context=b"",
        integrations=b"",
        channel="",
    )


def _type_of(call: Call) -> EventType:
    if not call.type:
        raise Required("type", "is required")
    kind = _TYPES.get(call.type)
    if kind is None:
        raise Invalid("type", f"is none of {', '.join(_TYPES)}")
    if kind is EventType.TRACK and not call.name:
        raise Required("event", "is required for track")
    if kind is EventType.GROUP and not call.group_id:
        raise Required("groupId", "is required for group")
    if kind is EventType.ALIAS and not (call.previous_id and call.user_id):
        raise Required("previousId", "is required for alias, with the user id")
    return kind


def _check_texts(call: Call, kind: EventType, left_out: list[LeftOut]) -> None:
    _check_text("messageId", call.message_id, _MOST_MESSAGE_ID)
    try:
        _check_text("userId", call.user_id)
    except Invalid as error:
        _leave_out(error, call.anonymous_id, kind, left_out)
        call.user_id = None
    try:
        _check_text("anonymousId", call.anonymous_id)
    except Invalid as error:
        _leave_out(error, call.user_id, kind, left_out)
        call.anonymous_id = None
    # No other event keeps it.
    if kind is EventType.ALIAS:
        _check_text("previousId", call.previous_id)
    _check_text("groupId", call.group_id)
    _check_text("event", call.name)


def _leave_out(error: Invalid, other_id: str | None, kind: EventType, left_out: list[LeftOut]) -> None:
    """An id that can't be one is left out where another says whose the event is."""
    if not other_id or kind is EventType.ALIAS:
        raise error
    left_out.append(LeftOut(error.field, f"{error.problem}, and is left out", error.reason))


def _check_text(name: str, text: str | None, most: int = MOST_ID) -> None:
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
    if not isinstance(value, dict):
        if value in NOTHING:
            return {}
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


class _Addresses:
    """Finds the address and the number that identify an event's person.

    What is none costs neither the event nor what else it says: it is left out, and the next place counts.
    """

    def __init__(self, call: Call, kind: EventType, left_out: list[LeftOut]) -> None:
        self._call = call
        self._kind = kind
        self._left_out = left_out
        self.traits = call.traits
        """Without an address that is none: as a trait it would be where mail goes."""

    def read(
        self, traits: Mapping[str, Any], context: Mapping[str, Any], properties: Mapping[str, Any]
    ) -> tuple[str, str]:
        """The email address and phone number, in normal form, or nothing."""
        places = [("traits", traits)] if self._kind is EventType.IDENTIFY else []
        inner = context.get("traits")
        if isinstance(inner, dict):
            places.append(("context.traits", inner))
        if self._kind is EventType.TRACK and _is_email(self._call):
            places.append(("properties", properties))
        return self._email(places), self._phone(places)

    def _email(self, places: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        found = ""
        for where, value in _named("email", self._call.email, places):
            normal = normal_email(value) if isinstance(value, str) else None
            if normal is None:
                self._left_out.append(LeftOut(where, "is not an email address", Malformed.reason))
                if where == "traits.email":
                    self.traits = _without(self.traits, "email")
            found = found or normal or ""
        return found

    def _phone(self, places: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        found = ""
        for where, value in _named("phone", self._call.phone, places):
            normal = normal_phone(value) if isinstance(value, str) else None
            # It may stay a trait: somebody who calls knows the country.
            if normal is None:
                problem = "is not a phone number with its country, such as +493012345: it identifies nobody"
                self._left_out.append(LeftOut(where, problem, Malformed.reason))
            found = found or normal or ""
        return found


def _is_email(call: Call) -> bool:
    """Whether an event's properties name its person: also where an ESP's event names nobody else."""
    name = call.name
    if name is None or name in _EMAIL_EVENTS:
        return name is not None
    return not (call.user_id or call.anonymous_id) and name.startswith("Email ")


def _named(
    name: str, given: str | None, places: Sequence[tuple[str, Mapping[str, Any]]]
) -> Sequence[tuple[str, Any]]:
    """All that is given as an address, strongest place first."""
    found: list[tuple[str, Any]] = [(name, given)] if given else []
    for place, values in places:
        value = values.get(name)
        if value is not None and value != "":
            found.append((f"{place}.{name}", value))
    return found


def _without(text: bytes, name: str) -> bytes:
    values = _decode_object(text)
    values.pop(name, None)
    return _encode_object(values) if values else b""


def _integrations(call: Call, left_out: list[LeftOut]) -> bytes:
    """Kept as it came; what no database can hold is left out, for nothing depends on it."""
    try:
        return call.integrations if _object("integrations", call.integrations) else b""
    except Invalid as error:
        left_out.append(LeftOut(error.field, error.problem, error.reason))
        return b""


def _channel(call: Call, left_out: list[LeftOut]) -> str:
    try:
        _check_text("channel", call.channel)
    except Invalid as error:
        left_out.append(LeftOut(error.field, error.problem, error.reason))
        return ""
    return call.channel or ""


def _check_identity(call: Call, source: Source, has_address: bool, left_out: Sequence[LeftOut]) -> None:
    if call.user_id or call.anonymous_id or call.profile_id:
        return
    if not has_address:
        for one in left_out:
            if one.field in ("userId", "anonymousId") or one.field.endswith(("email", "phone")):
                raise Malformed(one.field, f"{one.reason}, and nothing else says whose event it is")
        raise Required("userId", "is required, or an anonymous id")
    if not source.trusted:
        raise Required(
            "userId", "is required, or an anonymous id: a browser's word on an address names nobody"
        )


def _event_time(call: Call, received: int, left_out: list[LeftOut]) -> int:
    """When it happened, corrected for the client's clock: received - (sent - claimed)."""
    if call.time is None:
        return received
    claimed = call.time
    if call.sent_at is not None:
        if 0 <= call.sent_at <= received + _MOST_SENT_AHEAD:
            claimed = received - (call.sent_at - call.time)
        else:
            problem = "is no time of sending: the time of the event stays as it is"
            left_out.append(LeftOut("sentAt", problem, Malformed.reason))
    if claimed < 0:
        raise Invalid("timestamp", "lies before 1970")
    return received if claimed > received + _MOST_AHEAD else claimed
