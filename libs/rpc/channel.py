"""Channels to other services: deadlines, retries, and who is asking on whose behalf.

Retries are made here and not by gRPC's `retryPolicy`, which jitters by 20 % only, so that clients
that failed together come back together; stops after five attempts; and quietly never retries a
request over 256 KB, which is every full batch of ours.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import structlog
from grpc import StatusCode

from libs.observability import traces
from libs.rpc import options
from libs.rpc.calls import AUTHORIZATION_KEY, REQUEST_ID_KEY, TRACEPARENT_KEY
from libs.rpc.tls import Tls

log = structlog.get_logger(__name__)

DEADLINE_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 2.0

Details = grpc.aio.ClientCallDetails
UnaryCall = grpc.aio.UnaryUnaryCall[Any, Any]
StreamCall = grpc.aio.UnaryStreamCall[Any, Any]


@asynccontextmanager
async def open_channel(
    address: str,
    *,
    api_key: str = "",
    tls: Tls | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
    rng: random.Random | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to `host:port`, in plain text without `tls`. Connects at the first call.

    A unary call without a time-out gets `deadline_seconds`; while it answers UNAVAILABLE it is made
    again, after random pauses that grow, until the deadline. So only call methods that may be
    repeated: all of ours may. Streams are neither limited nor repeated. `rng` draws the pauses.
    """
    caller = _Metadata(api_key)
    interceptors = [_Unary(caller, deadline_seconds, rng or random.SystemRandom()), _Stream(caller)]
    if tls:
        channel = grpc.aio.secure_channel(
            address, tls.channel_credentials(), options=options.CHANNEL, interceptors=interceptors
        )
    else:
        channel = grpc.aio.insecure_channel(address, options=options.CHANNEL, interceptors=interceptors)
    async with channel:
        yield channel


def pauses(rng: random.Random) -> Iterator[float]:
    """Yield seconds to wait before each retry: from 0 to a bound that doubles up to two seconds."""
    bound = FIRST_PAUSE_SECONDS
    while True:
        yield rng.uniform(0, bound)
        bound = min(2 * bound, LONGEST_PAUSE_SECONDS)


class _Metadata:
    """Adds what every call carries: the key, the trace, and the id of the request that caused it."""

    def __init__(self, api_key: str) -> None:
        self._authorization = f"Bearer {api_key}" if api_key else None

    def added_to(self, details: Details, timeout: float | None) -> Details:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        given = metadata.keys()
        ours = {
            AUTHORIZATION_KEY: self._authorization,
            TRACEPARENT_KEY: traces.current_traceparent(),
            REQUEST_ID_KEY: structlog.contextvars.get_contextvars().get("request_id"),
        }
        for key, value in ours.items():
            if value and key not in given:
                metadata.add(key, value)
        return Details(details.method, timeout, metadata, details.credentials, details.wait_for_ready)


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, metadata: _Metadata, deadline_seconds: float, rng: random.Random) -> None:
        self._metadata = metadata
        self._deadline_seconds = deadline_seconds
        self._rng = rng

    async def intercept_unary_unary(
        self,
        continuation: Callable[[Details, Any], Awaitable[UnaryCall]],
        client_call_details: Details,
        request: Any,
    ) -> UnaryCall:
        now = asyncio.get_running_loop().time
        seconds = client_call_details.timeout
        end = now() + (self._deadline_seconds if seconds is None else seconds)
        waits = pauses(self._rng)
        while True:
            call = await continuation(self._metadata.added_to(client_call_details, end - now()), request)
            try:
                code = await call.code()
            except asyncio.CancelledError:
                # Whoever cancels cancels this wait; the call itself would go on.
                call.cancel()
                raise
            if code is not StatusCode.UNAVAILABLE:
                return call
            pause = next(waits)
            if now() + pause >= end:
                return call
            log.debug("call repeated", method=client_call_details.method, pause=round(pause, 3))
            await asyncio.sleep(pause)


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, metadata: _Metadata) -> None:
        self._metadata = metadata

    async def intercept_unary_stream(
        self,
        continuation: Callable[[Details, Any], Awaitable[StreamCall]],
        client_call_details: Details,
        request: Any,
    ) -> StreamCall:
        return await continuation(
            self._metadata.added_to(client_call_details, client_call_details.timeout), request
        )
