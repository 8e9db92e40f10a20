"""Sends a file as an import: an operation that others can watch and cancel."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc

from cli.clients import Clients
from cli.imports.batches import File, Moved, tell_left_out
from cli.imports.events import Line
from cli.imports.summary import Summary
from libs.errors import TesseraError
from libs.ids import new_uuid
from libs.rpc import error_from
from tessera.ingest.v1 import import_service_pb2 as pb

if TYPE_CHECKING:
    from tessera.ingest.v1.import_service_pb2_grpc import ImportServiceAsyncStub as Stub

# What the contract calls otherwise than files do.
_NAMES = {
    "message_id": "messageId",
    "user_id": "userId",
    "anonymous_id": "anonymousId",
    "previous_id": "previousId",
    "group_id": "groupId",
    "name": "event",
    "properties_json": "properties",
    "traits_json": "traits",
    "context_json": "context",
    "sent_at": "sentAt",
}
_MOST_NAME = 200


async def send(file: File, clients: Clients, moved: Moved) -> None:
    """Import all of a file; where that fails, the error says what is stored by then."""
    summary = file.summary
    stub = await clients.imports()
    request = pb.StartImportRequest(
        source_id=summary.source,
        total_count=file.rows,
        detail=file.path.name[:_MOST_NAME],
        request_id=new_uuid(),
    )
    summary.operation_id = (await stub.StartImport(request)).operation.operation_id
    try:
        for batch in file.batches(moved):
            await _send(stub, batch, summary)
    except asyncio.CancelledError:
        await _fail(stub, summary, "the command was interrupted")
        raise
    except (grpc.aio.AioRpcError, TesseraError) as error:
        problem = error if isinstance(error, TesseraError) else error_from(error)
        await _fail(stub, summary, problem.message)
        raise _told(problem, summary) from None
    await stub.EndImport(_end(summary))


async def _send(stub: "Stub", batch: list[Line], summary: Summary) -> None:
    request = pb.ImportEventsRequest(
        source_id=summary.source,
        events=[line.event for line in batch if line.event],
        operation_id=summary.operation_id,
        done_count=summary.accepted + summary.rejected,
    )
    answer = await stub.ImportEvents(request)
    summary.accepted += answer.accepted
    refused = {rejection.index for rejection in answer.rejections}
    for index, line in enumerate(batch):
        if index not in refused:
            tell_left_out(line, summary)
    for rejection in answer.rejections:
        summary.refuse(batch[rejection.index].number, f"{_named(rejection.field)}: {rejection.reason}")
    for warning in answer.warnings:
        summary.warn(batch[warning.index].number, f"{_named(warning.field)}: {warning.reason}")


async def _fail(stub: "Stub", summary: Summary, failure: str) -> None:
    # Where the service does not answer any more, it ends the import itself.
    with suppress(grpc.aio.AioRpcError):
        await stub.EndImport(_end(summary, failure))


def _end(summary: Summary, failure: str = "") -> pb.EndImportRequest:
    return pb.EndImportRequest(
        operation_id=summary.operation_id,
        accepted_count=summary.accepted,
        rejected_count=summary.rejected,
        failure=failure,
    )


def _told(problem: TesseraError, summary: Summary) -> TesseraError:
    if not summary.accepted:
        return problem
    return TesseraError(
        f"{problem.message}\n{summary.accepted:,} events are stored; run the same command again to go on: "
        "what is there already counts once"
    )


def _named(field: str) -> str:
    """A field as files call it: `traits_json.email` is `traits.email`."""
    outer, dot, inner = field.partition(".")
    return _NAMES.get(outer, outer) + dot + inner
