"""A render that hands out what a test says, and keeps what connectors answer."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from tessera.render.v1 import delivery_service_pb2 as pb
from tessera.render.v1 import delivery_service_pb2_grpc, message_pb2


def message(key: str = "key-1", **fields: Any) -> message_pb2.Message:
    """A message as render makes them."""
    made = message_pb2.Message(
        **{
            "message_id": str(uuid.uuid4()),
            "idempotency_key": key,
            "rfc5322_message_id": f"<{key}@shop.example.com>",
            "to": "ada@example.com",
            "subject": "Grüße, Ada",
            "preheader": "We kept your cart",
            "html": "<html><body><p>Hallo Ada</p></body></html>",
            "text": "Hallo Ada\n",
            "campaign_id": "cart",
            "headers": [message_pb2.Header(name="List-Unsubscribe", value="<https://x.example/u>")],
            "sender": "Shop <shop@shop.example.com>",
            **fields,
        }
    )
    made.create_time.FromSeconds(1_800_000_000)
    if not made.HasField("expire_time"):
        made.expire_time.FromSeconds(int(time.time()) + 86_400)
    return made


def response(one: message_pb2.Message, lease_seconds: float) -> pb.SubscribeResponse:
    """The message under a new lease."""
    made = pb.SubscribeResponse(message=one, lease_id=str(uuid.uuid4()), attempt=1)
    made.lease_end_time.FromMicroseconds(int((time.time() + lease_seconds) * 1_000_000))
    return made


class FakeRender(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """Hands every message out, again and again until it is acknowledged or rejected for good."""

    def __init__(self, *messages: message_pb2.Message) -> None:
        self.waiting = {one.message_id: one for one in messages}
        self.acknowledged: list[str] = []
        self.rejections: list[tuple[str, bool, str]] = []
        self.pauses: list[int | None] = []
        self.acknowledging = asyncio.Event()
        self.let_through = asyncio.Event()
        self.let_through.set()
        self.keys: set[str] = set()
        self.server: Any = None

    async def stop(self) -> None:
        """End the server, as a restart does."""
        await self.server.stop(None)

    async def Subscribe(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.keys |= {value for key, value in context.invocation_metadata() if key == "authorization"}
        handed: set[str] = set()
        while True:
            for one in [one for i, one in self.waiting.items() if i not in handed]:
                handed.add(one.message_id)
                yield response(one, request.lease_duration.seconds)
            await asyncio.sleep(0.02)

    async def AcknowledgeMessages(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.acknowledging.set()
        await self.let_through.wait()
        for lease in request.leases:
            self.acknowledged.append(self.waiting.pop(lease.message_id).idempotency_key)
        return pb.AcknowledgeMessagesResponse()

    async def RejectMessages(self, request: Any, context: Any) -> Any:  # noqa: N802
        for lease in request.leases:
            one = self.waiting[lease.message_id]
            self.rejections.append((one.idempotency_key, request.retry, request.reason))
            given = request.HasField("retry_after")
            self.pauses.append(request.retry_after.seconds if given else None)
            if not request.retry:
                del self.waiting[lease.message_id]
        return pb.RejectMessagesResponse()


@asynccontextmanager
async def serving(servicer: FakeRender, port: int = 0) -> AsyncIterator[str]:
    """Serve it; yields the address."""
    server = servicer.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    delivery_service_pb2_grpc.add_DeliveryServiceServicer_to_server(servicer, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)
