"""Between the contracts' messages, Segment's JSON and the model."""

from collections.abc import Sequence
from typing import Any, Final

from libs.errors import Invalid
from libs.messaging import Record
from libs.times import set_time
from libs.tracking.calls import Batch, Call, decode_call, message_id_of
from libs.tracking.contract import TYPES, call_of, field_name
from services.ingest.sources.model import Source
from services.ingest.tracking.model import Collected, EventType
from services.ingest.tracking.use_cases import Item, Notice, Rejection, Result, Unreadable
from tessera.ingest.v1 import event_pb2, ingest_events_pb2
from tessera.ingest.v1 import ingest_service_pb2 as pb

COLLECTED: Final = "tessera.ingest.v1.EventCollected"
_TYPE_PB: Final = {kind: TYPES[kind.value] for kind in EventType}


# ---- Segment's JSON


def batch_items(batch: Batch) -> list[Item]:
    """The calls of a batch, each with the batch's context below its own."""
    return [call_item(raw, "", batch) for raw in batch.calls]


def call_item(body: bytes, kind: str = "", batch: Batch = Batch(())) -> Item:  # noqa: B008 - never changed
    """One call; `kind` is the endpoint's, `batch` the one that it came in."""
    call: Call | Unreadable
    try:
        call = decode_call(body, kind, batch)
    except Invalid as error:
        call = Unreadable(message_id_of(body), error)
    # The batch's context counts for each of its events: it is stored with each.
    return Item(call, len(body) + len(batch.context) + len(batch.integrations), lambda: body)


def answer_of(result: Result) -> dict[str, Any]:
    """What became of the calls, as JSON: lists stand there only where there is something to tell."""
    answer: dict[str, Any] = {"success": True}
    if result.rejections:
        answer["rejected"] = [
            _told(one.index, one.message_id, one.error.field, one.error.problem, one.error.reason)
            for one in result.rejections
        ]
    if result.warnings:
        answer["warnings"] = [_told(one.index, one.message_id, *_parts(one)) for one in result.warnings]
    return answer


def _parts(notice: Notice) -> tuple[str, str, str]:
    return notice.left_out.field, notice.left_out.reason, notice.left_out.code


def _told(index: int, message_id: str, field: str, reason: str, code: str) -> dict[str, Any]:
    return {"index": index, "messageId": message_id, "field": field, "reason": reason, "code": code}


# ---- the contracts


def pb_items(events: Sequence[event_pb2.Event]) -> list[Item]:
    """The events of a gRPC batch."""
    return [_pb_item(event) for event in events]


def _pb_item(event: event_pb2.Event) -> Item:
    call: Call | Unreadable
    try:
        call = call_of(event)
    except Invalid as error:
        call = Unreadable(event.message_id, error)
    return Item(call, event.ByteSize(), event.SerializeToString)


def record_of(event: Collected, traceparent: str | None) -> Record:
    """An accepted event as a record of the log."""
    return Record(
        key=event.key.encode(),
        type=COLLECTED,
        value=collected_bytes(event),
        time=event.received_time,
        headers={"traceparent": traceparent} if traceparent else None,
    )


def collected_bytes(event: Collected) -> bytes:
    """The body of an accepted event's record."""
    pb = ingest_events_pb2.EventCollected(
        event_id=event.event_id,
        source_id=event.source.source_id,
        source_kind=_source_kind(event.source),
        message_id=event.message_id,
        type=_TYPE_PB[event.type],
        name=event.name,
        user_id=event.user_id,
        anonymous_id=event.anonymous_id,
        email=event.email,
        phone=event.phone,
        previous_id=event.previous_id,
        group_id=event.group_id,
        properties_json=event.properties,
        traits_json=event.traits,
        context_json=event.context,
        consent=event.consent or None,
    )
    # Set in place: a Timestamp of its own costs twice as much.
    set_time(pb.event_time, event.event_time)
    set_time(pb.received_time, event.received_time)
    if event.original_time is not None:
        set_time(pb.original_time, event.original_time)
    # Few events have these, and an argument costs even where it is empty.
    if event.profile_id:
        pb.profile_id = event.profile_id
    if event.integrations:
        pb.integrations_json = event.integrations
    if event.channel:
        pb.channel = event.channel
    return pb.SerializeToString()


def _source_kind(source: Source) -> event_pb2.SourceKind.ValueType:
    return event_pb2.SOURCE_KIND_SERVER if source.trusted else event_pb2.SOURCE_KIND_BROWSER


def rejection_pb(rejection: Rejection) -> pb.Rejection:
    """To the contract."""
    return pb.Rejection(
        index=rejection.index,
        message_id=rejection.message_id,
        field=field_name(rejection.error.field),
        reason=rejection.error.problem,
        code=rejection.error.reason,
    )


def warning_pb(notice: Notice) -> pb.Warning:
    """To the contract."""
    field, reason, code = _parts(notice)
    return pb.Warning(
        index=notice.index,
        message_id=notice.message_id,
        field=field_name(field),
        reason=reason,
        code=code,
    )
