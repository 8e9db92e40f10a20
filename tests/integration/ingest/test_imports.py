"""Old events: on a log of their own, as an operation that others watch and cancel."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import grpc
import orjson

from libs.errors import Invalid, NotFound, TesseraError
from libs.messaging.topics import INGEST_IMPORTS
from libs.rpc import error_from
from libs.times import timestamp
from tessera.ingest.v1 import import_service_pb2 as pb
from tessera.ingest.v1.event_pb2 import Event, EventType
from tessera.operations.v1 import operation_pb2, operation_service_pb2
from tests.integration.ingest.conftest import Ingest

_YEAR_2000 = timestamp(946_684_800_000_000)
_NOBODY = "00000000-0000-0000-0000-000000000000"


def _event(number: int, user_id: str = "ada") -> Event:
    return Event(
        message_id=f"old {number}",
        type=EventType.EVENT_TYPE_TRACK,
        name="Bought",
        user_id=user_id,
        timestamp=_YEAR_2000,
    )


async def _started(ingest: Ingest, total: int = 0, request_id: str = "") -> operation_pb2.Operation:
    request = pb.StartImportRequest(
        source_id="shop", total_count=total, detail="history.jsonl", request_id=request_id
    )
    return (await ingest.import_stub.StartImport(request)).operation


def _batch(import_: operation_pb2.Operation, done: int, *events: Event) -> pb.ImportEventsRequest:
    return pb.ImportEventsRequest(
        source_id="shop", events=events, operation_id=import_.operation_id, done_count=done
    )


async def _operation(ingest: Ingest, operation_id: str) -> operation_pb2.Operation:
    request = operation_service_pb2.GetOperationRequest(operation_id=operation_id)
    return (await ingest.operation_stub.GetOperation(request)).operation


async def _refused(call: Awaitable[Any]) -> TesseraError:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error_from(error)
    raise AssertionError("the call was answered")


async def test_imports_go_to_a_log_of_their_own_with_their_own_times(ingest: Ingest) -> None:
    answer = await ingest.import_stub.ImportEvents(
        pb.ImportEventsRequest(source_id="shop", events=[_event(1)])
    )
    unknown = await _refused(
        ingest.import_stub.ImportEvents(pb.ImportEventsRequest(source_id="x", events=[_event(2)]))
    )

    assert 1 == answer.accepted
    assert [_YEAR_2000] == [event.event_time for event in await ingest.stored(INGEST_IMPORTS)]
    assert [] == await ingest.stored()
    assert NotFound is type(unknown)


async def test_an_import_is_seen_from_its_start_to_its_end(ingest: Ingest) -> None:
    started = await _started(ingest, 5)
    await ingest.import_stub.ImportEvents(_batch(started, 0, _event(1), _event(2)))
    await ingest.import_stub.ImportEvents(_batch(started, 2, _event(3), _event(4), _event(5, "")))
    half = await _operation(ingest, started.operation_id)
    request = pb.EndImportRequest(operation_id=started.operation_id, accepted_count=4, rejected_count=1)
    ended = (await ingest.import_stub.EndImport(request)).operation

    assert ("ingest.import", "shop", "history.jsonl") == (started.kind, started.subject, started.detail)
    assert (2, 5, operation_pb2.OPERATION_STATE_RUNNING) == (half.done, half.total, half.state)
    assert (5, 5, operation_pb2.OPERATION_STATE_SUCCEEDED) == (ended.done, ended.total, ended.state)
    assert {"accepted": 4, "rejected": 1} == orjson.loads(ended.result_json)
    assert ended == (await ingest.import_stub.EndImport(request)).operation
    assert 4 == len(await ingest.stored(INGEST_IMPORTS))


async def test_nothing_more_of_an_import_is_stored_once_it_was_cancelled(ingest: Ingest) -> None:
    started = await _started(ingest)
    await ingest.import_stub.ImportEvents(_batch(started, 0, _event(1)))
    await ingest.operation_stub.CancelOperation(
        operation_service_pb2.CancelOperationRequest(operation_id=started.operation_id)
    )
    refused = [
        await _refused(ingest.import_stub.ImportEvents(_batch(started, 1, _event(number))))
        for number in (2, 3)
    ]

    assert ["OPERATION_ENDED"] * 2 == [error.reason for error in refused]
    assert 1 == len(await ingest.stored(INGEST_IMPORTS))
    ended = await _operation(ingest, started.operation_id)
    assert (1, operation_pb2.OPERATION_STATE_CANCELLED) == (ended.done, ended.state)


async def test_nothing_more_of_an_import_is_stored_once_it_has_failed(ingest: Ingest) -> None:
    started = await _started(ingest)
    request = pb.EndImportRequest(operation_id=started.operation_id, failure="the disk is full")
    ended = (await ingest.import_stub.EndImport(request)).operation
    refused = await _refused(ingest.import_stub.ImportEvents(_batch(started, 0, _event(1))))

    assert (operation_pb2.OPERATION_STATE_FAILED, "the disk is full") == (ended.state, ended.detail)
    assert "OPERATION_ENDED" == refused.reason
    assert "the disk is full" in refused.message
    assert [] == await ingest.stored(INGEST_IMPORTS)


async def test_a_repeated_start_of_an_import_that_has_ended_is_answered_with_it(ingest: Ingest) -> None:
    started = await _started(ingest, request_id="r")
    request = pb.EndImportRequest(operation_id=started.operation_id, failure="a \0 byte")
    ended = (await ingest.import_stub.EndImport(request)).operation

    assert "a \ufffd byte" == ended.detail
    assert ended == await _started(ingest, request_id="r")


async def test_the_same_request_starts_one_import(ingest: Ingest) -> None:
    twice = await asyncio.gather(*[_started(ingest, request_id="r") for _ in range(2)])

    assert 1 == len({started.operation_id for started in twice})


async def test_what_belongs_to_no_import_or_another_sources_is_refused(ingest: Ingest) -> None:
    started = await _started(ingest)
    other = _batch(started, 0, _event(1))
    other.source_id = "site"
    wrong = [
        (NotFound, ingest.import_stub.StartImport(pb.StartImportRequest(source_id="x"))),
        (NotFound, ingest.import_stub.EndImport(pb.EndImportRequest(operation_id=_NOBODY))),
        (Invalid, ingest.import_stub.EndImport(pb.EndImportRequest(operation_id="1"))),
        (Invalid, ingest.import_stub.ImportEvents(other)),
        (Invalid, ingest.import_stub.ImportEvents(_batch(started, -1, _event(1)))),
        (Invalid, ingest.import_stub.StartImport(pb.StartImportRequest(source_id="shop", total_count=-1))),
        (Invalid, ingest.import_stub.StartImport(pb.StartImportRequest(source_id="shop", detail="x" * 201))),
    ]

    for kind, call in wrong:
        assert isinstance(await _refused(call), kind), call
    assert [] == await ingest.stored(INGEST_IMPORTS)
