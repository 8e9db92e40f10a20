"""The calls of Segment's SDKs as JSON: what each says, as plain values.

A value that is not read here stays the JSON that it came as: a number that is read and written again may
lose digits.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from libs.errors import Invalid, Malformed
from libs.tracking import splitting

Decoded = TypeVar("Decoded")

_RAW_NULL: Final = (b"", b"null")
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


class _Batch(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: str | None = None
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
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LONE_SURROGATE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
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
    return Batch(
        [bytes(raw) for raw in read.batch],
        read.sent_at,
        bytes(read.context),
        bytes(read.integrations),
        read.write_key or "",
    )


def _split(body: bytes, error: Exception) -> Batch:
    """A batch of which some item, or what counts for all of them, is no JSON."""
    try:
        members = splitting.members(body)
        calls = splitting.items(members["batch"])
    except (splitting.Unsplittable, KeyError):
        raise Malformed("body", _not_json(body, error)) from None
    rest = {name: members.get(name, b"") for name in ("sentAt", "writeKey")}
    sent_at, write_key = (_text_of(name, raw) for name, raw in rest.items())
    return Batch(
        calls, sent_at, members.get("context", b""), members.get("integrations", b""), write_key or ""
    )


def _text_of(name: str, raw: bytes) -> str | None:
    try:
        return None if raw in _RAW_NULL else _text.decode(raw)
    except _UNREADABLE:
        raise Malformed(name, "is not a string") from None


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
    read = _decoded(_call, body)
    return _call_of(read, kind or read.type or "", batch)


def decode_file_call(body: bytes) -> Call:
    """A call from a file: it may name addresses beside ids, and without a type its event tells what it is."""
    read = _decoded(_file_call, body)
    call = _call_of(read, read.type or ("track" if read.event else "identify"), _NO_BATCH)
    call.email, call.phone = read.email or None, _id(read.phone)
    return call


def _decoded(decoder: msgspec.json.Decoder[Decoded], body: bytes) -> Decoded:
    try:
        return decoder.decode(body.removeprefix(_BOM))
    except msgspec.ValidationError as error:
        raise _complaint(error) from None
    except _UNREADABLE as error:
        raise Malformed("body", _not_json(body, error)) from None


def _not_json(body: bytes, error: Exception) -> str:
    # The decoder takes a lone surrogate for the end of its input, or for half of a pair.
    if "surrogate" in str(error) or ("truncated" in str(error) and _LONE_SURROGATE.search(body)):
        return r"is not valid JSON: it holds half of a character (\ud800 to \udfff, without its other half)"
    return f"is not valid JSON: {error}"


def _complaint(error: msgspec.ValidationError) -> Invalid:
    match = _COMPLAINT.fullmatch(str(error))
    assert match is not None
    return Malformed(match["field"] or "body", match["problem"])


def _call_of(read: _Call, kind: str, batch: Batch) -> Call:
    context = _merged(batch.context, bytes(read.context))
    traits, properties = bytes(read.traits), bytes(read.properties)
    if kind == "identify" and traits in _RAW_NULL:
        traits = _traits_in(context)
    category = bytes(read.category)
    if category not in _RAW_NULL and kind in _PLACES:
        properties = _merged(b'{"category":%b}' % category, properties)
    call = Call(
        type=kind,
        message_id=read.message_id,
        user_id=_id(read.user_id),
        anonymous_id=_id(read.anonymous_id),
        previous_id=_id(read.previous_id),
        group_id=_id(read.group_id),
        name=read.event if kind == "track" else read.name,
        time=_time("timestamp", _claimed(read, context)),
        sent_at=_time("sentAt", read.sent_at or batch.sent_at),
        properties=_present(properties),
        traits=_present(traits),
        context=_present(context),
        integrations=_present(_merged(batch.integrations, bytes(read.integrations))),
    )
    channel = bytes(read.channel)
    if channel not in _RAW_NULL:
        _set_channel(call, channel)
    return call


def _set_channel(call: Call, raw: bytes) -> None:
    try:
        call.channel = _text.decode(raw)
    except _UNREADABLE:
        call.left_out = (LeftOut("channel", "is not a string", Malformed.reason),)


def _claimed(read: _Call, context: bytes) -> str | None:
    """When the caller says that it happened."""
    original, corrected = read.original_timestamp, read.timestamp
    if original and corrected and original != corrected and _library(context) == _FILLS_ORIGINAL:
        return corrected
    return original or corrected


def _library(context: bytes) -> str:
    try:
        library = _context.decode(context).library if context else None
    except _UNREADABLE:
        return ""
    return library.name if library else ""


def _present(raw: bytes) -> bytes:
    return b"" if raw in _RAW_NULL else raw


def _id(value: str | int | None) -> str | None:
    """SDKs send numbers, and the empty string for nobody."""
    return None if value is None or value == "" else str(value)


def _merged(below: bytes, above: bytes) -> bytes:
    """Two JSON objects, the second over the first; what is no object is left to the checks."""
    if below in _RAW_NULL:
        return above
    if above in _RAW_NULL:
        return below
    try:
        upper = _object.decode(above)
    except _UNREADABLE:
        return above
    try:
        return msgspec.json.encode({**_object.decode(below), **upper})
    except _UNREADABLE:
        return below


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
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise Malformed(field, "is not an ISO 8601 time such as 2026-01-31T12:00:00.000Z") from None
