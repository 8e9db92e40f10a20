"""What every connector does: subscribe, deliver, say what became of it, and come back after a failure."""

import asyncio
import logging
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import grpc
from google.protobuf.duration_pb2 import Duration

from tessera.render.v1 import delivery_service_pb2 as pb
from tessera.render.v1 import delivery_service_pb2_grpc
from tessera.render.v1.message_pb2 import Message

log = logging.getLogger("tessera.connector")

_CALL_SECONDS = 10.0
_LONGEST_PAUSE = 10.0
# A server that drains ends its streams one after another: no need to be first at the next one.
_STREAM_PAUSE = 0.1
_MESSAGE_BYTES = 16 << 20
_HOPELESS = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    # A server that vanished without a word is noticed within a minute.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


class Verdict(Enum):
    """What became of a message."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a message, and why where it was not delivered."""

    verdict: Verdict
    reason: str = ""
    retry_after_seconds: int | None = None
    """For RETRY: when, where the receiver said so; else later at each attempt."""


DELIVERED = Result(Verdict.DELIVERED)


class Carrier(Protocol):
    """Where messages go."""

    async def deliver(self, message: Message) -> Result:
        """Deliver a message; it may have been delivered before, under the same idempotency key."""

    async def rest(self) -> None:
        """Nothing waits just now."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a connector works."""

    connector: str
    max_in_flight: int = 100
    lease_seconds: int = 60
    concurrency: int = 1
    """So many messages are delivered at once."""
    idle_seconds: float | None = None
    """End once nothing has come for so long; None to wait for ever."""
    rest_seconds: float = 0.3
    """How long nothing comes before `rest` is called."""


@asynccontextmanager
async def open_channel(
    address: str, api_key: str, tls: bool = False, authority: bytes | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel whose calls carry the key; `authority` is whom TLS trusts (PEM), else the system's."""
    interceptors = [_UnaryKey(api_key), _StreamKey(api_key)] if api_key else []
    if not tls:
        channel = grpc.aio.insecure_channel(address, options=_OPTIONS, interceptors=interceptors)
    else:
        credentials = grpc.ssl_channel_credentials(authority)
        channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS, interceptors=interceptors)
    async with channel:
        yield channel


class _UnaryKey(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(_with_key(client_call_details, self._api_key), request)


class _StreamKey(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(_with_key(client_call_details, self._api_key), request)


def _with_key(details: Any, api_key: str) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), ("authorization", f"Bearer {api_key}"))
    return grpc.aio.ClientCallDetails(
        details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
    )


@dataclass(slots=True)
class Connector:
    """Carries messages from render to where they go."""

    channel: grpc.aio.Channel
    carrier: Carrier
    options: Options
    rng: random.Random = field(default_factory=random.SystemRandom)
    delivered: int = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until asked to stop, or idle for long enough; finish what was begun, give back the rest.

        Raises the error where no retry can help: a wrong key, or a render that speaks otherwise.
        """
        failures = 0
        while not stopping.is_set():
            before = self.delivered
            try:
                if await self._subscribe(stopping):
                    return
                failures = 0
                await _pause(stopping, _STREAM_PAUSE)
            except grpc.aio.AioRpcError as error:
                if error.code() in _HOPELESS:
                    raise
                failures = 1 if self.delivered > before else failures + 1
                pause = self.rng.uniform(0.5, 1) * min(_LONGEST_PAUSE, 0.1 * 2**failures)
                log.warning("subscription lost: %s; again in %.1f s", error.code().name, pause)
                await _pause(stopping, pause)

    async def _subscribe(self, stopping: asyncio.Event) -> bool:
        """Take messages from one stream; True where the connector is to end."""
        stub = delivery_service_pb2_grpc.DeliveryServiceStub(self.channel)
        request = pb.SubscribeRequest(
            connector=self.options.connector,
            max_in_flight=self.options.max_in_flight,
            lease_duration=Duration(seconds=self.options.lease_seconds),
        )
        stream = stub.Subscribe(request)
        reader = _Reader(stream, stopping)
        try:
            ended = await self._carry(stub, reader, stopping)
            left = await reader.left() if ended else []
        except ExceptionGroup as group:
            if group.split(grpc.aio.AioRpcError)[1] is not None:
                raise
            raise _first(group) from group
        finally:
            reader.close()
            stream.cancel()
            await self.carrier.rest()
        await _give_back(stub, left)
        return ended

    async def _carry(self, stub: Any, reader: "_Reader", stopping: asyncio.Event) -> bool:
        slots = asyncio.Semaphore(self.options.concurrency)
        async with asyncio.TaskGroup() as tasks:
            while True:
                # What is read is begun; what is not can be given back.
                await slots.acquire()
                response = await reader.next(self.options.rest_seconds)
                if response is None:
                    await self.carrier.rest()
                    response = await reader.next(self.options.idle_seconds)
                if response is None or stopping.is_set():
                    return True
                if response is _END:
                    return False
                task = tasks.create_task(self._deliver(stub, response))
                task.add_done_callback(lambda _: slots.release())

    async def _deliver(self, stub: Any, response: pb.SubscribeResponse) -> None:
        message = response.message
        ends = (response.lease_end_time, message.expire_time)
        if min(end.ToMicroseconds() for end in ends) <= time.time() * 1_000_000:
            # By now it may be another's: to deliver it would be to deliver it twice.
            log.warning("message %s: its time was over before its turn came", message.message_id)
            return
        result = await self.carrier.deliver(message)
        leases = [_lease_of(response)]
        if result.verdict is Verdict.DELIVERED:
            request = pb.AcknowledgeMessagesRequest(leases=leases)
            answer = await stub.AcknowledgeMessages(request, timeout=_CALL_SECONDS, wait_for_ready=True)
            self.delivered += 1
        else:
            log.warning("message %s: %s: %s", message.message_id, result.verdict.value, result.reason)
            retry = result.verdict is Verdict.RETRY
            refusal = pb.RejectMessagesRequest(leases=leases, reason=result.reason, retry=retry)
            if retry and result.retry_after_seconds is not None:
                refusal.retry_after.FromSeconds(result.retry_after_seconds)
            answer = await stub.RejectMessages(refusal, timeout=_CALL_SECONDS, wait_for_ready=True)
        if answer.lost:
            log.warning("message %s: its lease was lost, it comes again", message.message_id)


async def _give_back(stub: Any, responses: list[pb.SubscribeResponse]) -> None:
    """Let others have at once what came and was not begun: else it would wait for the leases' end."""
    if responses:
        leases = [_lease_of(response) for response in responses]
        request = pb.RejectMessagesRequest(
            leases=leases, reason="the connector stopped", retry=True, retry_after=Duration()
        )
        await stub.RejectMessages(request, timeout=_CALL_SECONDS)


def _lease_of(response: pb.SubscribeResponse) -> pb.Lease:
    return pb.Lease(message_id=response.message.message_id, lease_id=response.lease_id)


_END = pb.SubscribeResponse()


class _Reader:
    """Reads a stream with a time limit that does not end the stream."""

    def __init__(self, stream: Any, stopping: asyncio.Event) -> None:
        self._stream = stream
        self._stopping = stopping
        self._asked = asyncio.ensure_future(stopping.wait())
        self._read: asyncio.Future[Any] | None = None

    async def next(self, seconds: float | None) -> pb.SubscribeResponse | None:
        """The next message; None when the time is over, `_END` at the stream's end or where it must stop."""
        self._read = self._read or asyncio.ensure_future(self._stream.read())
        waited = {self._read, self._asked}
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._stopping.is_set():
            return _END
        if not self._read.done():
            return None
        response, self._read = self._read.result(), None
        return _END if response is grpc.aio.EOF else response

    async def left(self) -> list[pb.SubscribeResponse]:
        """What has come and nobody has read."""
        found: list[pb.SubscribeResponse] = []
        while True:
            self._read = self._read or asyncio.ensure_future(self._stream.read())
            await asyncio.wait({self._read}, timeout=_STREAM_PAUSE)
            if not self._read.done():
                return found
            response, self._read = self._read.result(), None
            if response is grpc.aio.EOF:
                return found
            found.append(response)

    def close(self) -> None:
        """Read no more."""
        self._asked.cancel()
        if self._read is not None and not self._read.cancel() and not self._read.cancelled():
            self._read.exception()  # looked at, or the loop complains that nobody did


def _first(group: ExceptionGroup[Any]) -> Exception:
    error: Exception = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


def run(main: Callable[[asyncio.Event], Any]) -> None:
    """Run a connector in this process until it ends by itself, or by SIGTERM or SIGINT."""

    async def work() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await main(stopping)

    asyncio.run(work())
