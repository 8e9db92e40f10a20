"""Ingest's gRPC API through a real server."""

from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from libs import rpc
from libs.errors import Invalid, TesseraError, Unauthenticated
from tessera.ingest.v1 import event_pb2
from tessera.ingest.v1 import ingest_service_pb2 as pb
from tessera.ingest.v1.rejection_service_pb2 import ListRejectedEventsRequest
from tests.integration.ingest.conftest import SERVER_KEY, Ingest


def _event(**fields: Any) -> event_pb2.Event:
    known = {"type": event_pb2.EVENT_TYPE_TRACK, "name": "Bought", "user_id": "1", **fields}
    return event_pb2.Event(**known)


async def _refused(call: Any) -> TesseraError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return rpc.error_from(caught.value)


async def test_events_are_collected_and_what_is_wrong_is_rejected_alone(ingest: Ingest) -> None:
    events = [
        _event(message_id="fine", properties_json=b'{"n":18446744073709551617}'),
        _event(message_id="nothing", traits_json=b"null", context_json=b"{}"),
        _event(message_id="bad", properties_json=b"[1]"),
        _event(message_id="nul", user_id="", email="a\0@b.co"),
        _event(message_id="large", properties_json=b'{"a":"%b"}' % (b"x" * 32_768)),
        _event(message_id="typeless", type=event_pb2.EVENT_TYPE_UNSPECIFIED),
    ]
    answer = await ingest.stub.CollectEvents(pb.CollectEventsRequest(write_key=SERVER_KEY, events=events))
    stored = {event.message_id: event for event in await ingest.stored()}
    listed = await ingest.rejection_stub.ListRejectedEvents(ListRejectedEventsRequest(source_id="shop"))

    assert 2 == answer.accepted
    assert [
        (2, "bad", "properties_json", "MALFORMED"),
        (3, "nul", "email", "MALFORMED"),
        (4, "large", "body", "TOO_LARGE"),
        (5, "typeless", "type", "REQUIRED"),
    ] == [(r.index, r.message_id, r.field, r.code) for r in answer.rejections]
    assert {"fine", "nothing"} == set(stored)
    assert b'{"n":18446744073709551617}' == stored["fine"].properties_json
    assert (b"", b"") == (stored["nothing"].traits_json, stored["nothing"].context_json)
    assert ["type", "body", "email", "properties"] == [r.field for r in listed.rejected_events]
    assert events[5] == event_pb2.Event.FromString(listed.rejected_events[0].body)


async def test_a_rejection_names_the_field_as_the_contract_does(ingest: Ingest) -> None:
    wrong = {
        "user_id": _event(user_id="", anonymous_id=""),
        "anonymous_id": _event(user_id="", anonymous_id="a\0"),
        "message_id": _event(message_id="x" * 101),
        "name": _event(name=""),
        "previous_id": _event(type=event_pb2.EVENT_TYPE_ALIAS),
        "group_id": _event(type=event_pb2.EVENT_TYPE_GROUP),
        "type": _event(type=99),
        "properties_json": _event(properties_json=b"{"),
        "properties_json.a": _event(properties_json=b'{"a":"\\u0000"}'),
        "traits_json": _event(traits_json=b"1"),
        "context_json.consent": _event(context_json=b'{"consent":1}'),
        "timestamp": _event(timestamp=Timestamp(seconds=1_795_632_958_327)),
    }
    answer = await ingest.stub.CollectEvents(
        pb.CollectEventsRequest(write_key=SERVER_KEY, events=wrong.values())
    )

    assert [*wrong] == [rejection.field for rejection in answer.rejections]
    assert {"REQUIRED", "MALFORMED", "TOO_LARGE", "INVALID"} == {r.code for r in answer.rejections}


async def test_a_time_of_sending_that_is_none_is_told_as_the_contract_calls_it(ingest: Ingest) -> None:
    events = [_event(sent_at=Timestamp(nanos=-5)), _event(sent_at=Timestamp(seconds=253_402_300_000))]
    for event in events:
        event.timestamp.seconds = 1_700_000_000
    answer = await ingest.stub.CollectEvents(pb.CollectEventsRequest(write_key=SERVER_KEY, events=events))

    assert [(0, "sent_at"), (1, "sent_at")] == [(one.index, one.field) for one in answer.warnings]
    assert {1_700_000_000} == {event.event_time.seconds for event in await ingest.stored()}


_NO_BATCHES: list[tuple[type[TesseraError], pb.CollectEventsRequest]] = [
    (Unauthenticated, pb.CollectEventsRequest(write_key="wrong", events=[_event()])),
    (Unauthenticated, pb.CollectEventsRequest(events=[_event()])),
    (Invalid, pb.CollectEventsRequest(write_key=SERVER_KEY)),
    (Invalid, pb.CollectEventsRequest(write_key=SERVER_KEY, events=[_event()] * 2501)),
]


async def test_a_batch_that_cannot_be_taken_is_refused(ingest: Ingest) -> None:
    refused = [type(await _refused(ingest.stub.CollectEvents(request))) for _, request in _NO_BATCHES]

    assert [error for error, _ in _NO_BATCHES] == refused
    assert [] == await ingest.stored()


async def test_rejected_events_are_listed_page_by_page_newest_first(ingest: Ingest) -> None:
    events = [_event(message_id=f"{n}", user_id="") for n in range(25)]
    await ingest.stub.CollectEvents(pb.CollectEventsRequest(write_key=SERVER_KEY, events=events))
    listed: list[str] = []
    token = ""
    while True:
        page = await ingest.rejection_stub.ListRejectedEvents(
            ListRejectedEventsRequest(page_size=10, page_token=token)
        )
        listed += [event_pb2.Event.FromString(one.body).message_id for one in page.rejected_events]
        if not (token := page.next_page_token):
            break
    others = await ingest.rejection_stub.ListRejectedEvents(ListRejectedEventsRequest(source_id="site"))

    assert [f"{n}" for n in reversed(range(25))] == listed
    assert [] == list(others.rejected_events)
