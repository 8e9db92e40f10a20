"""The gRPC API of operations, which every service with long-running work serves."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from libs import rpc
from libs.ids import uuid_text
from libs.operations import wire
from libs.operations.model import Operation
from libs.operations.use_cases import Operations
from tessera.operations.v1 import operation_service_pb2 as pb
from tessera.operations.v1 import operation_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_NEWEST: Final = 1 << 62
_LOOK_SECONDS: Final = 0.5


class OperationServicer(operation_service_pb2_grpc.OperationServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def GetOperation(
        self, request: pb.GetOperationRequest, context: Context
    ) -> pb.GetOperationResponse:
        operation = await self._operations.get(uuid_text(request.operation_id, "operation_id"))
        return pb.GetOperationResponse(operation=wire.operation_pb(operation))

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: Context
    ) -> pb.ListOperationsResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        operations_of = f"operations/{request.kind}/{request.subject}/{request.state}"
        (before,) = rpc.decode_token(request.page_token, operations_of, tuple[int]) or (_NEWEST,)
        page = await self._operations.page(wire.filter_of(request), before, size)
        token = rpc.encode_token(operations_of, page[-1].number) if len(page) == size else ""
        return pb.ListOperationsResponse(
            operations=[wire.operation_pb(one) for one in page], next_page_token=token
        )

    async def WatchOperation(
        self, request: pb.WatchOperationRequest, context: Context
    ) -> AsyncIterator[pb.WatchOperationResponse]:
        operation_id = uuid_text(request.operation_id, "operation_id")
        seconds = request.timeout.ToTimedelta().total_seconds() if request.HasField("timeout") else None
        stopping = rpc.stopping()
        seen: Operation | None = None
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while not stopping.is_set():
            operation = await self._operations.get(operation_id)
            if operation != seen:
                yield pb.WatchOperationResponse(operation=wire.operation_pb(operation))
                seen = operation
            if operation.has_ended or (end is not None and loop.time() >= end):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def CancelOperation(
        self, request: pb.CancelOperationRequest, context: Context
    ) -> pb.CancelOperationResponse:
        operation = await self._operations.cancel(uuid_text(request.operation_id, "operation_id"))
        return pb.CancelOperationResponse(operation=wire.operation_pb(operation))
