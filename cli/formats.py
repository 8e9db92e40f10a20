"""Values of the contracts as people read them, and as JSON."""

from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tessera.ingest.v1.event_pb2 import EventType
from tessera.profile.v1.history_pb2 import HistoryEvent
from tessera.render.v1.template_pb2 import TemplateWarning

_BYTES = frozenset({"event_id", "cause_id", "cause_event_id", "inputs_hash"})


def as_dict(message: Message) -> dict[str, Any]:
    """A message with its fields' own names, JSON fields as what they hold."""
    plain = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    opened: dict[str, Any] = _opened(plain)
    return opened


def _opened(value: Any) -> Any:
    # In the JSON form bytes are Base64: of no use to who reads traits, properties or ids.
    if isinstance(value, list):
        return [_opened(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    opened: dict[str, Any] = {}
    for name, inner in value.items():
        if name.endswith("_json"):
            opened[name.removesuffix("_json")] = orjson.loads(b64decode(inner) or b"{}")
        elif name in _BYTES:
            opened[name] = b64decode(inner).hex()
        else:
            opened[name] = _opened(inner)
    return opened


def moment(time: Timestamp) -> str:
    """A time in the reader's own zone; empty where it is not set."""
    if not time.ByteSize():
        return ""
    return f"{time.ToDatetime(UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def span(seconds: int) -> str:
    """Seconds in the largest unit that they are whole in."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def word(name: str, prefix: str) -> str:
    """An enum's `DELIVERY_STATE_PENDING` as `pending`."""
    return name.removeprefix(prefix).removeprefix("_").lower().replace("_", " ")


def json_text(raw: bytes, most: int = 120) -> str:
    """A JSON object as `name=value, …`, cut where it is long."""
    values = orjson.loads(raw or b"{}")
    text = ", ".join(f"{name}={_value(value)}" for name, value in values.items())
    return text if len(text) <= most else text[: most - 1] + "…"


def json_lines_of(raw: bytes, most: int = 20) -> list[str]:
    """A JSON object as lines of `name=value`; what is more than `most` is counted in the last."""
    values = orjson.loads(raw or b"{}")
    lines = [f"{name}={_value(value)}" for name, value in values.items()]
    return lines if len(lines) <= most else [*lines[:most], f"… and {len(lines) - most} more"]


def event_name(event: HistoryEvent) -> str:
    """What an event is called: a track's name, else its kind, such as `page Home`."""
    kind = word(EventType.Name(event.type), "EVENT_TYPE")
    return event.name if kind == "track" else f"{kind} {event.name}".strip()


def warning_text(warning: TemplateWarning) -> str:
    """A template's warning as a sentence, with its place."""
    return f"{warning.part} line {warning.line}: {warning.message}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
