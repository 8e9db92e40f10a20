"""Everything around a handler, in one interceptor, because each one more costs every call.

From the outside in: request id and log context, trace, log line and metrics, errors to status,
deadline, permission, the handler, and the masking of what it answers. Errors lie inside the log
line, so that it tells the code that the caller sees; permission does too, so that refusals show.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc import StatusCode

from libs.errors import Malformed, Unavailable
from libs.observability import traces
from libs.rpc import calls
from libs.rpc.access_log import Line
from libs.rpc.calls import AUTHORIZATION_KEY, REQUEST_ID_KEY, TRACEPARENT_KEY, Caller
from libs.rpc.masking import mask_personal
from libs.rpc.permissions import PUBLIC, ApiKeys, admit
from libs.rpc.status import DETAILS_KEY, INTERNAL, TOO_LATE, Refusal, domain_of, refusal

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Mask = Callable[[Any], Any]

# Probes and reflection: open to all, and too frequent to be worth a line.
UNGUARDED: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.")
_REQUEST_ID_CHARACTERS = 128
_CODES = {code.value[0]: code for code in StatusCode}


class Guard(grpc.aio.ServerInterceptor):
    """Surrounds every handler of unary and server-streaming methods.

    `unary_seconds` is the deadline of a unary call that came without one. An error for which
    `is_transient` answers true tells the caller to try again (UNAVAILABLE).
    """

    def __init__(
        self,
        permissions: Mapping[str, str],
        api_keys: ApiKeys,
        unary_seconds: float,
        stopping: asyncio.Event,
        is_transient: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self._permissions = permissions
        self._api_keys = api_keys
        self._unary_seconds = unary_seconds
        self._stopping = stopping
        self._is_transient = is_transient

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        if handler is None or path.startswith(UNGUARDED):
            return handler
        guard = self._guard_stream if handler.response_streaming else self._guard_unary
        return guard(path, handler)

    def _guard_unary(self, path: str, handler: Handler) -> Handler:
        answer: Any = handler.unary_unary

        async def guarded(request: Any, context: Context) -> Any:
            async def work(mask: Mask) -> Any:
                return mask(await answer(_readable(request), context))

            # A call that came with a deadline is cancelled by gRPC once that has passed.
            limit = self._unary_seconds if context.time_remaining() is None else None
            return await self._serve(path, context, work, limit)

        return grpc.unary_unary_rpc_method_handler(
            guarded, _lenient(handler.request_deserializer), handler.response_serializer
        )

    def _guard_stream(self, path: str, handler: Handler) -> Handler:
        answer: Any = handler.unary_stream

        async def guarded(request: Any, context: Context) -> None:
            async def work(mask: Mask) -> None:
                masking: Any = _MaskingContext(context, mask)
                answers = answer(_readable(request), masking)
                if not hasattr(answers, "__aiter__"):  # a handler that calls `context.write`
                    await answers
                    return
                async with aclosing(answers):
                    async for response in answers:
                        await masking.write(response)

            await self._serve(path, context, work, None)

        # Of gRPC's two styles this is the one with `context.write`, so None is the answer.
        behavior: Any = guarded
        return grpc.unary_stream_rpc_method_handler(
            behavior, _lenient(handler.request_deserializer), handler.response_serializer
        )

    async def _serve(
        self, path: str, context: Context, work: Callable[[Mask], Awaitable[Any]], limit: float | None
    ) -> Any:
        sent = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        request_id = _request_id(sent)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
        line = Line(path.removeprefix("/"))
        try:
            with traces.span(line.method, self._parent(path, sent)) as span:
                response, refused = await self._attempt(path, sent, context, work, limit, line)
                span.set_attribute("rpc.grpc.status_code", line.code.name)
        finally:
            line.write()
        if refused:
            await _abort(context, refused, request_id)
        return response

    def _parent(self, path: str, sent: Mapping[str, str]) -> str | None:
        """The trace that the call belongs to. Who needs no key has no say in whether it is sampled."""
        traceparent = sent.get(TRACEPARENT_KEY)
        return traces.unsampled(traceparent) if self._permissions[path] == PUBLIC else traceparent

    async def _attempt(
        self,
        path: str,
        sent: Mapping[str, str],
        context: Context,
        work: Callable[[Mask], Awaitable[Any]],
        limit: float | None,
        line: Line,
    ) -> tuple[Any, Refusal | None]:
        permission = self._permissions[path]
        try:
            async with asyncio.timeout(limit) as deadline:
                caller = admit(permission, sent.get(AUTHORIZATION_KEY, ""), self._api_keys)
                calls.enter(caller, self._stopping)
                structlog.contextvars.bind_contextvars(caller=caller.name)
                response = await work(_mask_for(permission, caller))
        except asyncio.CancelledError:
            # gRPC cancels for three reasons: the caller left, its deadline passed, the server stops.
            remaining = context.time_remaining()
            too_late = remaining is not None and remaining <= 0
            line.code = StatusCode.DEADLINE_EXCEEDED if too_late else StatusCode.CANCELLED
            raise
        except grpc.aio.AbortError:  # by the handler itself
            line.code = _code(context)
            raise
        except Exception as error:
            too_late = isinstance(error, TimeoutError) and deadline.expired()
            refused = TOO_LATE if too_late else refusal(error, domain_of(path))
            line.error = error if refused is INTERNAL else None
            if refused is INTERNAL and self._is_transient(error):
                unavailable = Unavailable("something that the service needs does not answer: try again")
                refused = refusal(unavailable, domain_of(path))
            line.code, line.reason = refused.code, refused.reason
            return None, refused
        line.code = _code(context)
        return response, None


class _MaskingContext:
    """A handler's context which masks what the handler writes."""

    def __init__(self, context: Context, mask: Mask) -> None:
        self._context = context
        self._mask = mask

    async def write(self, message: Any) -> None:
        await self._context.write(self._mask(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def _lenient(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """Decode, or return the error: gRPC itself would answer UNKNOWN, which says that we are at fault."""
    assert decode is not None

    def decoded(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError as error:
            return error

    return decoded


def _readable(request: Any) -> Any:
    if isinstance(request, DecodeError):
        raise Malformed("request", "is not the message that this method takes; is the contract the same?")
    return request


def _mask_for(permission: str, caller: Caller) -> Mask:
    if permission == PUBLIC:
        return lambda message: message
    return lambda message: mask_personal(message, caller)


def _request_id(sent: Mapping[str, str]) -> str:
    given = sent.get(REQUEST_ID_KEY, "")
    if given.isascii() and given.isprintable() and 0 < len(given) <= _REQUEST_ID_CHARACTERS:
        return given
    return uuid.uuid4().hex


def _code(context: Context) -> StatusCode:
    code: Any = context.code()  # what a handler set: the enum, or its number, or 0
    return code if isinstance(code, StatusCode) else _CODES[code or 0]


async def _abort(context: Context, refused: Refusal, request_id: str) -> None:
    trailing: list[tuple[str, str | bytes]] = [(REQUEST_ID_KEY, request_id)]
    if refused.details:
        trailing.append((DETAILS_KEY, refused.details))
    await context.abort(refused.code, refused.message, tuple(trailing))
