"""The calls of Segment's SDKs as JSON: what each says, as plain values.

A value that is not read here stays the JSON that it came as: a number that is read and written again may
lose digits.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from libs.errors import Invalid, Malformed
from libs.tracking import splitting

Decoded = TypeVar("Decoded")

# PHP writes an object without members as an empty list, and other programs one that they lack as a text.
_NOTHING: Final = (b"", b"null", b"[]", b'""', b"[ ]")
_NO_TRAITS: Final = (*_NOTHING, b"{}", b"{ }")
_EMPTY: Final = (b"[]", b"{}", b"false")
# What has more bytes says something: the large objects of most events are not compared.
_MOST_NOTHING: Final = 4
_BOM: Final = b"\xef\xbb\xbf"
_PLACES: Final = ("page", "screen")
# It fills `originalTimestamp` always, with the time of the call; `timestamp` beside it is the caller's own.
_FILLS_ORIGINAL: Final = "@rudderstack/rudder-sdk-node"


class LeftOut(msgspec.Struct, frozen=True, gc=False):
    """A part of an accepted event that is not taken as what it was meant to be, and why."""

    field: str
    reason: str
    code: str


class Call(msgspec.Struct, gc=False):
    """A call as a client made it, whatever the protocol. Times are microseconds since 1970, objects JSON."""

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
    integrations: bytes = b""
    channel: str | None = None
    profile_id: str = ""
    """Whom it is about, where we know that ourselves: no client may say so."""
    left_out: Sequence[LeftOut] = ()


class Batch(msgspec.Struct, gc=False):
    """The body of a batch: its calls as they came, and what counts for each of them."""

    calls: Sequence[bytes]
    sent_at: str | None = None
    context: bytes = b""
    integrations: bytes = b""
    write_key: str = ""
    left_out: Sequence[LeftOut] = ()
    """What each of its calls is told."""


class _Call(msgspec.Struct, rename="camel"):
    """One call; what we do not read may be there and is ignored."""

    type: str | None = None
    message_id: str | None = None
    user_id: str | int | None = None
    anonymous_id: str | int | None = None
    previous_id: str | int | None = None
    group_id: str | int | None = None
    event: str | None = None
    name: str | None = None
    timestamp: str | None = None
    original_timestamp: str | None = None
    sent_at: str | None = None
    properties: msgspec.Raw = msgspec.Raw()
    traits: msgspec.Raw = msgspec.Raw()
    context: msgspec.Raw = msgspec.Raw()
    integrations: msgspec.Raw = msgspec.Raw()
    category: msgspec.Raw = msgspec.Raw()
    channel: msgspec.Raw = msgspec.Raw()


class _FileCall(_Call, rename="camel"):
    """A call in a file, which names addresses as it names ids."""

    email: str | None = None
    phone: str | int | None = None
    consent: msgspec.Raw = msgspec.Raw()


class _Batch(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: msgspec.Raw = msgspec.Raw()
    context: msgspec.Raw = msgspec.Raw()
    integrations: msgspec.Raw = msgspec.Raw()
    write_key: str | None = None


class _WriteKey(msgspec.Struct, rename="camel"):
    write_key: str | None = None


class _Library(msgspec.Struct):
    name: str = ""


class _Context(msgspec.Struct):
    library: _Library | None = None


_call = msgspec.json.Decoder(_Call)
_file_call = msgspec.json.Decoder(_FileCall)
_batch = msgspec.json.Decoder(_Batch)
_write_key = msgspec.json.Decoder(_WriteKey)
_context = msgspec.json.Decoder(_Context)
_text = msgspec.json.Decoder(str)
_text_or_number = msgspec.json.Decoder(str | int)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LONE_SURROGATE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)
_INTEGER: Final = re.compile(rb"-?[0-9]+")
# The fields that say whose call it is, and the kinds that can't do without another.
_WHO: Final = ("userId", "anonymousId", "email", "phone")
_NEEDED: Final = {
    "track": ("event",),
    "group": ("groupId",),
    "alias": ("userId", "previousId"),
    "": ("type", "event"),
}
_OTHER_TIME: Final = {"timestamp": "originalTimestamp", "originalTimestamp": "timestamp"}
# Both contexts may say something of consent, and a denial in the lower one is no less one.
_JOINED: Final = (("consent", "consentManagement"), ("categoryPreferences", "category_preferences"))
# Java's name of the zone, behind the offset that says all.
_ZONE_NAME: Final = re.compile(r"(.*(?:Z|[+-][0-9]{2}:?[0-9]{2}))\[[^\[\]]*\]")
# A date by itself, or with a time that is set off from it.
_DATE: Final = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}|[0-9]{4}-W[0-9]{2}(?:-[0-9])?|[0-9]{4}W[0-9]{2,3})(?:[Tt ]|\Z)"
)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# msgspec ends a complaint with the place: "Expected `str`, got `array` - at `$.userId`".
_COMPLAINT: Final = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<field>.*)`)?", re.DOTALL)


def decode_batch(body: bytes) -> Batch:
    """The body of /v1/batch; Invalid where it is no such JSON.

    An item that is no JSON is left to `decode_call`, so that it costs itself alone.
    """
    body = body.removeprefix(_BOM)
    try:
        read = _batch.decode(body)
    except msgspec.ValidationError as error:
        raise _complaint(error) from None
    except _UNREADABLE as error:
        return _split(body, error)
    sent_at, left_out = _sent_at_of(bytes(read.sent_at))
    return Batch(
        [bytes(raw) for raw in read.batch],
        sent_at,
        bytes(read.context),
        bytes(read.integrations),
        read.write_key or "",
        left_out,
    )


def _split(body: bytes, error: Exception) -> Batch:
    """A batch of which some item, or what counts for all of them, is no JSON."""
    try:
        members = splitting.members(body)
        calls = splitting.items(members["batch"])
    except (splitting.Unsplittable, KeyError):
        raise Malformed("body", _not_json(body, error)) from None
    try:
        write_key = msgspec.json.decode(members.get("writeKey", b"null"), type=str | None)
    except _UNREADABLE:
        raise Malformed("writeKey", "is not a string") from None
    context, integrations = members.get("context", b""), members.get("integrations", b"")
    sent_at, left_out = _sent_at_of(members.get("sentAt", b""))
    return Batch(calls, sent_at, context, integrations, write_key or "", left_out)


def _sent_at_of(raw: bytes) -> tuple[str | None, Sequence[LeftOut]]:
    """It only corrects clocks: where it is no text, each call is told so, and stays."""
    if raw in _NOTHING:
        return None, ()
    try:
        return _text.decode(raw), ()
    except _UNREADABLE:
        return None, (LeftOut("sentAt", "is not a string", Malformed.reason),)


def write_key_of(body: bytes) -> str:
    """The write key in a single call's body, or nothing."""
    try:
        return _write_key.decode(body.removeprefix(_BOM)).write_key or ""
    except _UNREADABLE:
        return _said(body, "writeKey")


def message_id_of(body: bytes) -> str:
    """The message id of a call that can't be read as a whole, where at least that can."""
    return _said(body, "messageId")


def _said(body: bytes, name: str) -> str:
    try:
        return _text.decode(splitting.members(body.removeprefix(_BOM)).get(name, b'""'))
    except (*_UNREADABLE, splitting.Unsplittable):
        return ""


_NO_BATCH: Final = Batch(())


def decode_call(body: bytes, kind: str = "", batch: Batch = _NO_BATCH) -> Call:
    """One call; `kind` is the endpoint's, `batch` the one that it came in. Invalid names the field."""
    left_out: list[LeftOut] = []
    read = _decoded(_call, body, kind, left_out)
    return _call_of(read, kind or read.type or "", batch, left_out)


def decode_file_call(body: bytes) -> Call:
    """A call from a file: it may name addresses beside ids, and without a type its event tells what it is.

    What it says of consent beside its context counts as if it stood there.
    """
    left_out: list[LeftOut] = []
    read = _decoded(_file_call, body, "", left_out)
    consent = bytes(read.consent)
    if consent not in _NOTHING:
        read.context = msgspec.Raw(_merged(bytes(read.context), b'{"consent":%b}' % consent, _JOINED))
    call = _call_of(read, read.type or ("track" if read.event else "identify"), _NO_BATCH, left_out)
    call.email, call.phone = read.email or None, _id(read.phone)
    return call


def _decoded(
    decoder: msgspec.json.Decoder[Decoded], body: bytes, kind: str, left_out: list[LeftOut]
) -> Decoded:
    body = body.removeprefix(_BOM)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        return _mended(decoder, body, kind, _complaint(error), left_out)
    except _UNREADABLE as error:
        raise Malformed("body", _not_json(body, error)) from None


def _mended(
    decoder: msgspec.json.Decoder[Decoded],
    body: bytes,
    kind: str,
    complaint: Invalid,
    left_out: list[LeftOut],
) -> Decoded:
    """A call without the fields that can't be read, where it does not need them; Invalid where it does."""
    try:
        fields = _object.decode(body)
    except _UNREADABLE:
        raise complaint from None
    kind = kind or _said_in(fields, "type", _text)
    while True:
        name = complaint.field
        raw = bytes(fields.get(name, b""))
        if name == "messageId" and _INTEGER.fullmatch(raw):
            fields[name] = msgspec.Raw(b'"%b"' % raw)
        elif not raw or _is_needed(name, raw, kind, fields):
            raise complaint
        else:
            del fields[name]
            left_out.append(LeftOut(name, complaint.problem, complaint.reason))
        try:
            return decoder.decode(msgspec.json.encode(fields))
        except msgspec.ValidationError as error:
            complaint = _complaint(error)
        except _UNREADABLE as error:
            raise Malformed("body", _not_json(body, error)) from None


def _is_needed(name: str, raw: bytes, kind: str, fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a call is worth nothing, or is another one, without a field that can't be read."""
    if name in _NEEDED.get(kind, ()):
        return True
    if name in _WHO:
        # An empty one is how some languages write nobody: the call may name its person in another way.
        others = [_said_in(fields, other, _text_or_number) for other in _WHO if other != name]
        return raw not in _EMPTY and not any(others)
    return name in _OTHER_TIME and not _said_in(fields, _OTHER_TIME[name], _text)


def _said_in(fields: Mapping[str, msgspec.Raw], name: str, decoder: msgspec.json.Decoder[Any]) -> str:
    try:
        return str(decoder.decode(fields.get(name, b'""')))
    except _UNREADABLE:
        return ""


def _not_json(body: bytes, error: Exception) -> str:
    # The decoder takes a lone surrogate for the end of its input, or for half of a pair.
    if "surrogate" in str(error) or ("truncated" in str(error) and _LONE_SURROGATE.search(body)):
        return r"is not valid JSON: it holds half of a character (\ud800 to \udfff, without its other half)"
    return f"is not valid JSON: {error}"


def _complaint(error: msgspec.ValidationError) -> Invalid:
    match = _COMPLAINT.fullmatch(str(error))
    assert match is not None
    return Malformed(match["field"] or "body", match["problem"])


def _call_of(read: _Call, kind: str, batch: Batch, left_out: list[LeftOut]) -> Call:
    context = _merged(batch.context, bytes(read.context), _JOINED)
    traits, properties = bytes(read.traits), bytes(read.properties)
    if kind == "identify" and traits in _NO_TRAITS:
        traits = _traits_in(context)
    category = bytes(read.category)
    if category and kind in _PLACES and category not in _NOTHING:
        properties = _merged(b'{"category":%b}' % category, properties)
    try:
        sent_at = _time("sentAt", read.sent_at or batch.sent_at)
    except Malformed as error:
        sent_at = None
        left_out.append(LeftOut(error.field, error.problem, error.reason))
    call = Call(
        type=kind,
        message_id=read.message_id,
        user_id=_id(read.user_id),
        anonymous_id=_id(read.anonymous_id),
        previous_id=_id(read.previous_id),
        group_id=_id(read.group_id),
        name=read.event if kind == "track" else read.name,
        time=_claimed(read, context, left_out),
        sent_at=sent_at,
        properties=_present(properties),
        traits=_present(traits),
        context=_present(context),
        integrations=_present(_merged(batch.integrations, bytes(read.integrations))),
    )
    channel = bytes(read.channel)
    if channel and channel not in _NOTHING:
        _set_channel(call, channel, left_out)
    if left_out or batch.left_out:
        call.left_out = (*left_out, *batch.left_out)
    return call


def _set_channel(call: Call, raw: bytes, left_out: list[LeftOut]) -> None:
    try:
        call.channel = _text.decode(raw)
    except _UNREADABLE:
        left_out.append(LeftOut("channel", "is not a string", Malformed.reason))


def _claimed(read: _Call, context: bytes, left_out: list[LeftOut]) -> int | None:
    """When the caller says that it happened: of two times the caller's own, if it can be read."""
    original, corrected = read.original_timestamp, read.timestamp
    if not original or not corrected or original == corrected:
        return _time("timestamp", corrected or original)
    times = [("originalTimestamp", original), ("timestamp", corrected)]
    if _library(context) == _FILLS_ORIGINAL:
        times.reverse()
    try:
        return _time(*times[0])
    except Malformed as error:
        time = _time(*times[1])
        left_out.append(LeftOut(error.field, error.problem, error.reason))
        return time


def _library(context: bytes) -> str:
    try:
        library = _context.decode(context).library if context else None
    except _UNREADABLE:
        return ""
    return library.name if library else ""


def _present(raw: bytes) -> bytes:
    return raw if len(raw) > _MOST_NOTHING or raw not in _NOTHING else b""


def _id(value: str | int | None) -> str | None:
    """SDKs send numbers, and the empty string for nobody."""
    return None if value is None or value == "" else str(value)


def _merged(below: bytes, above: bytes, joined: Sequence[Sequence[str]] = ()) -> bytes:
    """Two JSON objects, the second over the first; what is no object is left to the checks.

    A member that `joined` names for this level, and both have, is merged in the same way.
    """
    if below in _NOTHING:
        return above
    if above in _NOTHING:
        return below
    try:
        upper = _object.decode(above)
    except _UNREADABLE:
        return above
    try:
        lower = _object.decode(below)
    except _UNREADABLE:
        return below
    for name in joined[0] if joined else ():
        if name in lower and name in upper:
            upper[name] = msgspec.Raw(_merged(bytes(lower[name]), bytes(upper[name]), joined[1:]))
    return msgspec.json.encode({**lower, **upper})


def _traits_in(context: bytes) -> bytes:
    """Some SDKs put an identify's traits into the context."""
    try:
        return bytes(_object.decode(context).get("traits", b"")) if context else b""
    except _UNREADABLE:
        return b""


def _time(field: str, text: str | None) -> int | None:
    """Microseconds since 1970 of an ISO 8601 time; without a zone it is UTC."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        # Python takes any character before the time, also the sign of a date's zone.
        if "T" not in text and not _DATE.match(text):
            raise ValueError
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        if text.endswith("]") and (named := _ZONE_NAME.fullmatch(text)):
            return _time(field, named[1])
        raise Malformed(field, "is not an ISO 8601 time such as 2026-01-31T12:00:00.000Z") from None
