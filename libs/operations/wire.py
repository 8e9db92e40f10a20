"""Between the contract and the model."""

from libs.errors import Invalid
from libs.operations.model import Operation, State
from libs.operations.ports import Filter
from libs.times import timestamp
from tessera.operations.v1 import operation_pb2
from tessera.operations.v1 import operation_service_pb2 as pb


def operation_pb(operation: Operation) -> operation_pb2.Operation:
    """To the contract."""
    return operation_pb2.Operation(
        operation_id=operation.operation_id,
        kind=operation.kind,
        subject=operation.subject,
        state=operation_pb2.OperationState.ValueType(int(operation.state)),
        done=operation.done,
        total=operation.total,
        detail=operation.detail,
        cancel_requested=operation.cancel_requested,
        create_time=timestamp(operation.created),
        update_time=timestamp(operation.updated),
        end_time=None if operation.ended is None else timestamp(operation.ended),
        result_json=operation.result,
    )


def filter_of(request: pb.ListOperationsRequest) -> Filter:
    """Which operations are asked for; Invalid for a state that this version does not know."""
    known = {int(state): state for state in State}
    if request.state and request.state not in known:
        raise Invalid("state", "is not one that this version knows")
    return Filter(request.kind, request.subject, known.get(request.state))
