"""Asks services whether they are ready, by the standard health service."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from itertools import count
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from libs.rpc import Tls, options

READY, NOT_READY, SILENT = "ready", "not ready", "no answer"
FRONT_DOOR = "the tracking API"
_PAUSE_SECONDS = 0.1


async def state_of(address: str, seconds: float = 2.0, tls: Tls | None = None) -> str:
    """What a server says of itself: `ready`, `not ready`, or `no answer`."""
    # Not a channel of ours: that one would try again until the time is over.
    opened = (
        grpc.aio.secure_channel(address, tls.channel_credentials(), options=options.CHANNEL)
        if tls
        else grpc.aio.insecure_channel(address, options=options.CHANNEL)
    )
    async with opened as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(HealthCheckRequest(service="readiness"), timeout=seconds)
        except grpc.aio.AioRpcError:
            return SILENT
    return READY if answer.status == HealthCheckResponse.SERVING else NOT_READY


async def listens(address: str) -> bool:
    """Whether somebody accepts connections."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def wait_until_ready(
    grpc_addresses: Mapping[str, str], http_address: str | None, seconds: float
) -> Collection[str]:
    """Wait until all are ready, or the time is over; return the names of those that are not."""
    waiting = set(grpc_addresses)
    if http_address is not None:
        waiting.add(FRONT_DOOR)

    async def wait(name: str, is_ready: Callable[[], Awaitable[bool]]) -> None:
        for _ in count():
            if await is_ready():
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        waiting.discard(name)

    waits = [wait(name, partial(_is_ready, address)) for name, address in grpc_addresses.items()]
    if http_address is not None:
        waits.append(wait(FRONT_DOOR, partial(listens, http_address)))
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*waits)
    except TimeoutError:
        return sorted(waiting)
    return ()


async def _is_ready(address: str) -> bool:
    # A connection is the cheaper question while the process is still loading.
    return await listens(address) and await state_of(address, 1.0) == READY
