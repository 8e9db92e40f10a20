"""Single events over HTTP, as SDKs in browsers send them: one a request, many connections."""

import asyncio
import base64
import multiprocessing
import time
from pathlib import Path
from typing import cast

from bench import stack
from libs import rpc

_WARM_SECONDS = 2.0
_HEAD = (
    "POST /v1/track HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Basic {key}\r\n"
    "content-type: application/json\r\ncontent-length: {size}\r\n\r\n"
)
_BODY = (
    '{{"userId":"user-{person}","messageId":"{connection}-{number:09}","event":"Product Viewed","properties":'
    '{{"product_id":"sku-{person}","price":19.9,"currency":"EUR","quantity":1,"category":"shoes",'
    '"url":"https://shop.example.com/p/{person}","campaign":{{"source":"newsletter","medium":"email"}}}}}}'
)


class _Connection(asyncio.Protocol):
    """Sends a request whenever the one before is answered."""

    def __init__(self, number: int, key: str) -> None:
        self.answered = 0
        self.refused = 0
        self._number = number
        self._key = base64.b64encode(f"{key}:".encode()).decode()
        self._transport: asyncio.Transport | None = None
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._answer.endswith(b"}"):
            return
        self.answered += 1
        self.refused += not self._answer.startswith(b"HTTP/1.1 200")
        self._answer = b""
        self._send()

    def _send(self) -> None:
        assert self._transport is not None
        person = (self._number * 7919 + self.answered) % 20_000
        body = _BODY.format(person=person, connection=self._number, number=self.answered)
        self._transport.write((_HEAD.format(key=self._key, size=len(body)) + body).encode())


async def _load(port: int, key: str, connections: int, seconds: float) -> tuple[float, int]:
    loop = asyncio.get_running_loop()
    opened = [_Connection(number, key) for number in range(connections)]
    transports = [
        (await loop.create_connection(lambda one=one: one, "127.0.0.1", port))[0]  # type: ignore[misc]
        for one in opened
    ]
    await asyncio.sleep(_WARM_SECONDS)
    before, started = sum(one.answered for one in opened), time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (sum(one.answered for one in opened) - before) / (time.perf_counter() - started)
    for transport in transports:
        transport.close()
    return rate, sum(one.refused for one in opened)


def _client(port: int, key: str, connections: int, seconds: float) -> tuple[float, int]:
    return rpc.run(_load(port, key, connections, seconds))


def singles(connections: int, seconds: float, checkout: Path | None = None) -> float:
    """Acknowledged events a second at so many connections; ingest alone runs, of this checkout or another."""
    with stack.front_door(checkout) as (port, key), multiprocessing.get_context("spawn").Pool(1) as pool:
        rate, refused = pool.apply(_client, (port, key, connections, seconds))
    if refused:
        raise RuntimeError(f"{refused} events were refused")
    return rate
