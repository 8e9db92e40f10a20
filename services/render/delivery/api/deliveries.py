"""The gRPC API of deliveries."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog

from libs import rpc
from libs.errors import PermissionDenied
from libs.messaging.news import News
from libs.observability import metrics
from services.render.delivery import wire
from services.render.delivery.use_cases import Deliveries, subscriber_of
from tessera.render.v1 import delivery_service_pb2 as pb
from tessera.render.v1 import delivery_service_pb2_grpc

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
_READ_PERSONAL = "pii.read"
# A message may have become due, or the server may drain, without news of it.
_LOOK_SECONDS = 0.5


class DeliveryServicer(delivery_service_pb2_grpc.DeliveryServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, deliveries: Deliveries, news: News) -> None:
        self._deliveries = deliveries
        self._news = news

    async def Subscribe(
        self, request: pb.SubscribeRequest, context: Context
    ) -> AsyncIterator[pb.SubscribeResponse]:
        if not rpc.caller().may(_READ_PERSONAL):
            raise PermissionDenied("a masked message can't be delivered", permission=_READ_PERSONAL)
        subscriber = subscriber_of(
            request.connector,
            request.max_in_flight,
            wire.seconds_of("lease_duration", request.lease_duration),
            wire.stream_of(request),
        )
        log.info("connector subscribed", connector=request.connector, most=subscriber.max_in_flight)
        # Tells a connector that it is subscribed, also while no message comes.
        await context.send_initial_metadata(())
        stopping = rpc.stopping()
        while not stopping.is_set():
            seen = self._news.count
            granted = await self._deliveries.next(subscriber)
            for one in granted:
                yield wire.granted_pb(one)
            if not granted:
                await self._news.wait(seen, _LOOK_SECONDS)

    async def AcknowledgeMessages(
        self, request: pb.AcknowledgeMessagesRequest, context: Context
    ) -> pb.AcknowledgeMessagesResponse:
        lost = await self._deliveries.acknowledge([wire.lease_of(lease) for lease in request.leases])
        metrics.DELIVERIES.labels("acknowledged").inc(len(request.leases) - len(lost))
        return pb.AcknowledgeMessagesResponse(lost=[wire.lease_pb(lease) for lease in lost])

    async def RejectMessages(
        self, request: pb.RejectMessagesRequest, context: Context
    ) -> pb.RejectMessagesResponse:
        leases = [wire.lease_of(lease) for lease in request.leases]
        lost = await self._deliveries.reject(leases, request.reason, request.retry, wire.pause_of(request))
        metrics.DELIVERIES.labels("retried" if request.retry else "rejected").inc(len(leases) - len(lost))
        return pb.RejectMessagesResponse(lost=[wire.lease_pb(lease) for lease in lost])
