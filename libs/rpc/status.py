"""The one table between our errors and gRPC's status codes, and both ways across it.

A status carries `google.rpc.Status` in `grpc-status-details-bin`, with one `google.rpc.ErrorInfo`:
`reason` is the error's, `domain` names the service, such as `ingest.tessera`, `metadata` holds the values
in the message. Where a field is wrong, a `google.rpc.BadRequest` names it too, for tools that know nothing
of us; where the same call may succeed later, a `google.rpc.RetryInfo` says after how long.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from grpc import StatusCode

from libs import errors
from libs.errors import TesseraError

DOMAIN: Final = "tessera"
DETAILS_KEY: Final = "grpc-status-details-bin"

STATUS_OF: Final[dict[type[TesseraError], StatusCode]] = {
    errors.Invalid: StatusCode.INVALID_ARGUMENT,
    errors.NotFound: StatusCode.NOT_FOUND,
    errors.AlreadyExists: StatusCode.ALREADY_EXISTS,
    errors.Conflict: StatusCode.ABORTED,
    errors.FailedPrecondition: StatusCode.FAILED_PRECONDITION,
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: StatusCode.PERMISSION_DENIED,
    errors.ResourceExhausted: StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: StatusCode.UNAVAILABLE,
}
_CLASS_OF_REASON: Final = {kind.reason: kind for kind in STATUS_OF}
_CLASS_OF_STATUS: Final = {code: kind for kind, code in STATUS_OF.items()} | {
    StatusCode.DEADLINE_EXCEEDED: errors.Unavailable
}

# Trailers are headers: beyond 8 KB a client drops them, at random at first, and learns nothing. The
# message travels twice, once with three bytes for each one that is not ASCII.
_MESSAGE_BYTES = 600
_VALUE_BYTES = 200
_VALUES = 8


@dataclass(frozen=True)
class Refusal:
    """A status to end a call with."""

    code: StatusCode
    message: str
    reason: str = ""
    details: bytes = b""


INTERNAL: Final = Refusal(StatusCode.INTERNAL, "internal error")
TOO_LATE: Final = Refusal(StatusCode.DEADLINE_EXCEEDED, "deadline exceeded")


def domain_of(path: str) -> str:
    """The domain of the errors of a method, by its path: `/tessera.ingest.v1.X/Y` is `ingest.tessera`."""
    package = path.strip("/").partition("/")[0].split(".")
    return f"{package[1]}.{DOMAIN}" if package[0] == DOMAIN and len(package) > 1 else DOMAIN


def refusal(error: Exception, domain: str = DOMAIN) -> Refusal:
    """Return the status that tells the caller of `error`; `INTERNAL` where it is not one of ours."""
    code = next((STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF), None)
    if code is None or not isinstance(error, TesseraError):
        return INTERNAL
    message = _cut(error.message, _MESSAGE_BYTES)
    values = {name: _cut(value, _VALUE_BYTES) for name, value in list(error.metadata.items())[:_VALUES]}
    status = Status(code=code.value[0], message=message)
    status.details.add().Pack(ErrorInfo(reason=error.reason, domain=domain, metadata=values))
    if isinstance(error, errors.Invalid):
        problem = _cut(error.problem, _MESSAGE_BYTES)
        violation = BadRequest.FieldViolation(field=values["field"], description=problem)
        status.details.add().Pack(BadRequest(field_violations=[violation]))
    if error.retry_seconds is not None:
        seconds, rest = divmod(error.retry_seconds, 1)
        delay = Duration(seconds=int(seconds), nanos=int(rest * 1_000_000_000))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return Refusal(code, message, error.reason, status.SerializeToString())


def error_from(rpc_error: grpc.aio.AioRpcError) -> TesseraError:
    """Turn the failure of a call back into the error that the server raised.

    Without ErrorInfo of ours the status code decides, DEADLINE_EXCEEDED counting as `Unavailable`.
    What the server could not foresee (INTERNAL, UNKNOWN …) is a plain `TesseraError`.
    """
    info = next(_infos(rpc_error), None)
    message = rpc_error.details() or rpc_error.code().name
    metadata: dict[str, str] = dict(info.metadata) if info else {}
    kind = _CLASS_OF_REASON.get(info.reason) if info else None
    kind = kind or _CLASS_OF_STATUS.get(rpc_error.code(), TesseraError)
    if issubclass(kind, errors.Invalid):
        field = metadata.get("field", "")
        return kind(field or "request", message.removeprefix(f"{field}: "))
    error = kind(message)
    error.metadata = metadata
    if info:
        # A service may have kinds of its own, which a caller knows by their reasons.
        error.reason = info.reason
    return error


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


def _infos(rpc_error: grpc.aio.AioRpcError) -> Iterator[ErrorInfo]:
    for key, value in rpc_error.trailing_metadata() or ():
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = Status.FromString(value)
        except DecodeError:  # some proxy's idea of details: the code still says enough
            return
        for detail in status.details:
            info = ErrorInfo()
            if detail.Unpack(info) and info.domain.rpartition(".")[2] == DOMAIN:
                yield info
