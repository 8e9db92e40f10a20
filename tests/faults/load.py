"""Clients that send events all the time, by HTTP and by gRPC, and send again what was not answered well."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import grpc
import httpx
import orjson

from cli.ports import address
from cli.sources import ensure_source, write_key
from libs.rpc import open_channel
from libs.times import timestamp
from tessera.ingest.v1 import event_pb2, ingest_service_pb2_grpc
from tessera.ingest.v1 import ingest_service_pb2 as ingest
from tests.faults.shop import Shop
from tests.faults.system import System
from tests.integration.messaging.harness import until
from tests.model import Event

CLIENTS = 8
_PAUSE_SECONDS = 0.1
_CALL_SECONDS = 3.0
_AGAIN_SECONDS = (0.05, 0.5)
_REPEATED = 0.04
_GIVEN_UP = 0.02
# Nobody heard of it: it may be stored or not, and was never before anything else.
_NEVER = 2**62
_TYPES = {"identify": event_pb2.EVENT_TYPE_IDENTIFY, "track": event_pb2.EVENT_TYPE_TRACK}


class Refused(Exception):
    """A client was told that its events are wrong: never to be sent again."""


@dataclass(slots=True)
class Sent:
    """An event, and when it was acknowledged first, if ever, in microseconds since 1970."""

    event: Event
    acknowledged: int | None = None


class Load:
    """Several clients at once, until stopped."""

    def __init__(self, system: System, seed: int, source: str = "shop") -> None:
        self.sent: dict[str, Sent] = {}
        self.failures = 0
        """Calls that were not answered, or not well."""
        self.repeats = 0
        """Calls that were made again though they had been answered."""
        self._system = system
        self._source = source
        self._rng = random.Random(seed)
        self._shop = Shop(self._rng, source)
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._acknowledged: list[tuple[float, int]] = []
        self._flying = 0

    @property
    def in_flight(self) -> int:
        """Calls that wait for their answer."""
        return self._flying

    def acknowledged_between(self, start: float, end: float) -> int:
        """How many events were acknowledged in that time (as `time.time()` tells it)."""
        return sum(count for at, count in self._acknowledged if start <= at <= end)

    def acknowledged(self) -> list[Event]:
        """What was acknowledged, each with the time."""
        return [
            replace(s.event, received=s.acknowledged)
            for s in self.sent.values()
            if s.acknowledged is not None
        ]

    def unheard(self) -> list[Event]:
        """What was sent, but never acknowledged: it may be stored or not."""
        return [replace(s.event, received=_NEVER) for s in self.sent.values() if s.acknowledged is None]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send while the body runs; what is on its way then is delivered before this returns."""
        async with AsyncExitStack() as stack:
            key = await self._write_key()
            http = await stack.enter_async_context(
                httpx.AsyncClient(timeout=_CALL_SECONDS, trust_env=False, auth=(key, ""))
            )
            channel = await stack.enter_async_context(
                open_channel(address(self._system.ports.grpc["ingest"]), deadline_seconds=_CALL_SECONDS)
            )
            senders: list[_Http | _Grpc] = [
                _Http(http, f"http://{address(self._system.ports.http)}/v1/batch"),
                _Grpc(ingest_service_pb2_grpc.IngestServiceStub(channel), key),
            ]
            self._tasks = [
                asyncio.create_task(self._client(senders[number % len(senders)])) for number in range(CLIENTS)
            ]
            try:
                yield
                self._stopping.set()
                async with asyncio.timeout(180):
                    await asyncio.gather(*self._tasks)
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until_busy(self, seconds: float = 180) -> None:
        """Wait until events are acknowledged and more are under way; fail where a client has failed."""

        def is_busy() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()
            now = time.time()
            return self._flying > 0 and self.acknowledged_between(now - 0.5, now) > 0

        await until(is_busy, seconds, "that events are acknowledged and more are under way")

    async def _write_key(self) -> str:
        async with self._system.clients() as clients:
            source = await ensure_source(clients, self._source, event_pb2.SOURCE_KIND_SERVER)
            return write_key(source)

    async def _client(self, sender: "_Http | _Grpc") -> None:
        while not self._stopping.is_set():
            batch = self._shop.batch()
            for event in batch:
                self.sent[event.message_id] = Sent(event)
            await self._deliver(sender, batch)
            if self._rng.random() < _REPEATED:
                self.repeats += 1
                await self._deliver(sender, batch)
            await asyncio.sleep(self._rng.uniform(0.5, 1.5) * _PAUSE_SECONDS)

    async def _deliver(self, sender: "_Http | _Grpc", batch: Sequence[Event]) -> None:
        """Send until it is acknowledged, as SDKs do; now and then a client gives up."""
        while not await self._call(sender, batch):
            self.failures += 1
            if self._rng.random() < _GIVEN_UP:
                return
            await asyncio.sleep(self._rng.uniform(*_AGAIN_SECONDS))
        now = time.time()
        self._acknowledged.append((now, len(batch)))
        for event in batch:
            sent = self.sent[event.message_id]
            sent.acknowledged = sent.acknowledged or int(now * 1_000_000)

    async def _call(self, sender: "_Http | _Grpc", batch: Sequence[Event]) -> bool:
        self._flying += 1
        try:
            return await sender.send(batch)
        finally:
            self._flying -= 1


class _Http:
    """Segment's protocol."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def send(self, batch: Sequence[Event]) -> bool:
        """Whether the batch was acknowledged; Refused where it never will be."""
        body = orjson.dumps({"batch": [_call_of(event) for event in batch]})
        try:
            answer = await self._client.post(self._url, content=body)
        except httpx.TransportError:
            return False
        if answer.status_code not in (200, 429, 503) or b"rejected" in answer.content:
            raise Refused(f"{answer.status_code}: {answer.text}")
        return answer.status_code == 200


class _Grpc:
    """The contract's CollectEvents."""

    def __init__(self, stub: "ingest_service_pb2_grpc.IngestServiceAsyncStub", key: str) -> None:
        self._stub = stub
        self._key = key

    async def send(self, batch: Sequence[Event]) -> bool:
        """Whether the batch was acknowledged; Refused where it never will be."""
        request = ingest.CollectEventsRequest(write_key=self._key, events=[_event_pb(e) for e in batch])
        try:
            answer = await self._stub.CollectEvents(request)
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise Refused(f"{error.code()}: {error.details()}") from error
            return False
        if answer.rejections:
            raise Refused(str(answer))
        return True


def _call_of(event: Event) -> dict[str, Any]:
    call: dict[str, Any] = {
        "type": event.type,
        "messageId": event.message_id,
        "timestamp": datetime.fromtimestamp(event.time / 1_000_000, UTC).isoformat(timespec="milliseconds"),
        "userId": event.user_id or None,
        "anonymousId": event.anonymous_id or None,
        "context": {"consent": {"categoryPreferences": dict(event.consent)}} if event.consent else {},
    }
    if event.type == "track":
        call |= {"event": event.name, "properties": dict(event.properties)}
        if event.email:
            call["context"]["traits"] = {"email": event.email}
    else:
        call["traits"] = dict(event.traits)
    return call


def _event_pb(event: Event) -> event_pb2.Event:
    return event_pb2.Event(
        type=_TYPES[event.type],
        message_id=event.message_id,
        user_id=event.user_id,
        anonymous_id=event.anonymous_id,
        email=event.email,
        name=event.name,
        timestamp=timestamp(event.time),
        properties_json=orjson.dumps(dict(event.properties)) if event.properties else b"",
        traits_json=orjson.dumps(dict(event.traits)) if event.traits else b"",
        consent=event.consent,
    )
