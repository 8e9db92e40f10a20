"""Between rows and messages, column by column, so that a newer release may add some."""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.render.delivery.model import Content, DeliveryState, Message, Outcome
from services.render.engine.model.parts import HTML, PARTS, PREHEADER, SUBJECT, TEXT
from services.render.model.people import Stream

# What is stored of a message, and as what: the statements name these columns.
TYPES: Mapping[str, str] = {
    "message_id": "uuid",
    "idempotency_key": "text",
    "profile_id": "uuid",
    "address": "text",
    "sender": "text",
    "reply_to": "text",
    "stream": "smallint",
    "campaign_id": "text",
    "campaign_version": "bigint",
    "definition_id": "text",
    "cause_id": "bytea",
    "cause_time": "bigint",
    "event_name": "text",
    "template_id": "text",
    "template_version": "bigint",
    "inputs_hash": "bytea",
    "model_version": "bigint",
    "profile_revision": "bigint",
    "created": "bigint",
    "expires": "bigint",
    "outcome": "smallint",
    "reason": "text",
    "omitted": "text",
    "test": "boolean",
    "delivery_state": "smallint",
    "due_time": "bigint",
}
CONTENT_TYPES: Mapping[str, str] = {
    "message_id": "uuid",
    "profile_id": "uuid",
    "created": "bigint",
    SUBJECT: "text",
    PREHEADER: "text",
    HTML: "text",
    TEXT: "text",
    "headers": "bytea",
    "event": "bytea",
}
# Ids are read as texts: a driver's own UUIDs would be turned into them anyway.
READ = ", ".join(
    f"m.{name}::text" if kind == "uuid" else f"m.{name}" for name, kind in TYPES.items() if name != "due_time"
)
READ_CONTENT = ", ".join(f"c.{name}" for name in (*PARTS, "headers", "event"))

_encode = msgspec.json.Encoder().encode
_decode_headers = msgspec.json.Decoder(list[tuple[str, str]]).decode


def row_of(message: Message) -> tuple[object, ...]:
    """In the order of TYPES. It may be handed out at once."""
    return (
        message.message_id,
        message.idempotency_key,
        message.profile_id,
        message.address,
        message.sender,
        message.reply_to,
        int(message.stream),
        message.campaign_id,
        message.campaign_version,
        message.definition_id,
        message.cause_id,
        message.cause_time,
        message.event_name,
        message.template_id,
        message.template_version,
        message.inputs_hash,
        message.model_version,
        message.profile_revision,
        message.created,
        message.expires,
        int(message.outcome),
        message.reason,
        "\n".join(message.omitted),
        message.test,
        int(message.state),
        message.created,
    )


def content_row_of(message: Message, content: Content) -> tuple[object, ...]:
    """In the order of CONTENT_TYPES."""
    parts = content.parts
    return (
        message.message_id,
        message.profile_id,
        message.created,
        parts[SUBJECT],
        parts[PREHEADER],
        parts[HTML],
        parts[TEXT],
        _encode(content.headers),
        content.event,
    )


def message_of(row: Any, content: Content | None) -> Message:
    """From the columns of READ."""
    return Message(
        message_id=row["message_id"],
        idempotency_key=row["idempotency_key"],
        profile_id=row["profile_id"],
        address=row["address"],
        sender=row["sender"],
        reply_to=row["reply_to"],
        stream=Stream(row["stream"]),
        campaign_id=row["campaign_id"],
        campaign_version=row["campaign_version"],
        definition_id=row["definition_id"],
        cause_id=row["cause_id"],
        cause_time=row["cause_time"],
        event_name=row["event_name"],
        template_id=row["template_id"],
        template_version=row["template_version"],
        inputs_hash=row["inputs_hash"],
        model_version=row["model_version"],
        profile_revision=row["profile_revision"],
        created=row["created"],
        expires=row["expires"],
        outcome=Outcome(row["outcome"]),
        reason=row["reason"],
        omitted=tuple(row["omitted"].splitlines()),
        state=DeliveryState(row["delivery_state"]),
        test=row["test"],
        content=content,
    )


def content_of(row: Any) -> Content | None:
    """From the columns of READ_CONTENT; None where it is not kept any more."""
    if row["headers"] is None:
        return None
    return Content({part: row[part] for part in PARTS}, _decode_headers(row["headers"]), row["event"])


def short_content_of(row: Any) -> Content | None:
    """From subject, preheader and event: what a list shows."""
    if row["event"] is None:
        return None
    parts = {SUBJECT: row[SUBJECT], PREHEADER: row[PREHEADER], HTML: "", TEXT: ""}
    return Content(parts, (), row["event"])
