"""Ingest's gRPC API through a real server."""

from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from libs import rpc
from libs.errors import Conflict, Invalid, NotFound, TesseraError, Unauthenticated
from libs.messaging.topics import INGEST_IMPORTS
from tessera.ingest.v1 import event_pb2
from tessera.ingest.v1 import ingest_service_pb2 as pb
from tests.builders import SECOND, timestamp
from tests.integration.ingest.conftest import BROWSER, SERVER, Ingest

_SERVER_KIND = event_pb2.SOURCE_KIND_SERVER


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
        _event(message_id="bad", properties_json=b"[]"),
        _event(message_id="nul", email="a\0@b.co"),
        _event(message_id="large", properties_json=b'{"a":"%b"}' % (b"x" * 32_768)),
        _event(message_id="typeless", type=event_pb2.EVENT_TYPE_UNSPECIFIED),
    ]
    answer = await ingest.stub.CollectEvents(
        pb.CollectEventsRequest(write_key=SERVER.write_key, events=events)
    )
    stored = {event.message_id: event for event in await ingest.stored()}
    listed = await ingest.stub.ListRejectedEvents(pb.ListRejectedEventsRequest(source_id="shop"))

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
        "anonymous_id": _event(anonymous_id="a\0"),
        "message_id": _event(message_id="x" * 101),
        "name": _event(name=""),
        "previous_id": _event(type=event_pb2.EVENT_TYPE_ALIAS),
        "group_id": _event(type=event_pb2.EVENT_TYPE_GROUP),
        "type": _event(type=99),
        "properties_json": _event(properties_json=b"{"),
        "properties_json.a": _event(properties_json=b'{"a":"\\u0000"}'),
        "traits_json": _event(traits_json=b"1"),
        "context_json.consent": _event(context_json=b'{"consent":1}'),
        "consent": _event(consent={"": True}),
        "timestamp": _event(timestamp=Timestamp(seconds=1_795_632_958_327)),
        "sent_at": _event(sent_at=Timestamp(nanos=-5)),
    }
    answer = await ingest.stub.CollectEvents(
        pb.CollectEventsRequest(write_key=SERVER.write_key, events=wrong.values())
    )

    assert [*wrong] == [rejection.field for rejection in answer.rejections]
    assert {"REQUIRED", "MALFORMED", "TOO_LARGE", "INVALID"} == {r.code for r in answer.rejections}


async def test_imports_go_to_a_log_of_their_own_with_their_own_times(ingest: Ingest) -> None:
    year_2000 = timestamp(946_684_800 * SECOND)
    request = pb.ImportEventsRequest(source_id="shop", events=[_event(timestamp=year_2000)])
    answer = await ingest.stub.ImportEvents(request)
    unknown = await _refused(
        ingest.stub.ImportEvents(pb.ImportEventsRequest(source_id="x", events=[_event()]))
    )

    assert 1 == answer.accepted
    assert [year_2000] == [event.event_time for event in await ingest.stored(INGEST_IMPORTS)]
    assert [] == await ingest.stored()
    assert NotFound is type(unknown)


_NO_BATCHES: list[tuple[type[TesseraError], pb.CollectEventsRequest]] = [
    (Unauthenticated, pb.CollectEventsRequest(write_key="wrong", events=[_event()])),
    (Unauthenticated, pb.CollectEventsRequest(events=[_event()])),
    (Invalid, pb.CollectEventsRequest(write_key=SERVER.write_key)),
    (Invalid, pb.CollectEventsRequest(write_key=SERVER.write_key, events=[_event()] * 2501)),
]


async def test_a_batch_that_cannot_be_taken_is_refused(ingest: Ingest) -> None:
    refused = [type(await _refused(ingest.stub.CollectEvents(request))) for _, request in _NO_BATCHES]

    assert [error for error, _ in _NO_BATCHES] == refused
    assert [] == await ingest.stored()


async def test_a_source_is_made_once_with_its_key_and_kind(ingest: Ingest) -> None:
    source = pb.Source(
        source_id="app", kind=event_pb2.SOURCE_KIND_SERVER, default_consent={"analytics": False}
    )
    made = [(await ingest.stub.CreateSource(pb.CreateSourceRequest(source=source))).source for _ in range(2)]
    await ingest.stub.CollectEvents(pb.CollectEventsRequest(write_key=made[0].write_key, events=[_event()]))
    listed = (await ingest.stub.ListSources(pb.ListSourcesRequest())).sources

    assert made[0] == made[1]
    assert len(made[0].write_key) >= 30
    assert ["app", "shop", "site"] == [one.source_id for one in listed]
    assert [event_pb2.EVENT_TYPE_CONSENT] == [event.type for event in await ingest.stored()]


_NO_SOURCES: list[tuple[type[TesseraError], pb.Source]] = [
    (Conflict, pb.Source(source_id="shop", kind=event_pb2.SOURCE_KIND_BROWSER)),
    (Conflict, pb.Source(source_id="shop", kind=_SERVER_KIND, write_key="other")),
    (Conflict, pb.Source(source_id="new", kind=_SERVER_KIND, write_key=BROWSER.write_key)),
    (Invalid, pb.Source(source_id="new")),
    (Invalid, pb.Source(source_id="new", kind=7)),  # type: ignore[arg-type]
    (Invalid, pb.Source(source_id="New", kind=_SERVER_KIND)),
    (Invalid, pb.Source(source_id="new", kind=_SERVER_KIND, write_key="a:b")),
    (Invalid, pb.Source(source_id="new", kind=_SERVER_KIND, write_key="a\0")),
    (Invalid, pb.Source(source_id="new", kind=_SERVER_KIND, default_consent={"a\0": True})),
]


async def test_a_source_that_cannot_be_is_refused(ingest: Ingest) -> None:
    requests = [pb.CreateSourceRequest(source=source) for _, source in _NO_SOURCES]
    refused = [type(await _refused(ingest.stub.CreateSource(request))) for request in requests]

    assert [error for error, _ in _NO_SOURCES] == refused
    assert 2 == len((await ingest.stub.ListSources(pb.ListSourcesRequest())).sources)


async def test_rejected_events_are_listed_page_by_page_newest_first(ingest: Ingest) -> None:
    events = [_event(message_id=f"{n}", user_id="") for n in range(25)]
    await ingest.stub.CollectEvents(pb.CollectEventsRequest(write_key=SERVER.write_key, events=events))
    listed: list[str] = []
    token = ""
    while True:
        page = await ingest.stub.ListRejectedEvents(
            pb.ListRejectedEventsRequest(page_size=10, page_token=token)
        )
        listed += [event_pb2.Event.FromString(one.body).message_id for one in page.rejected_events]
        if not (token := page.next_page_token):
            break
    others = await ingest.stub.ListRejectedEvents(pb.ListRejectedEventsRequest(source_id="site"))

    assert [f"{n}" for n in reversed(range(25))] == listed
    assert [] == list(others.rejected_events)
