"""The gRPC API of render."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog

from libs import rpc
from libs.errors import PermissionDenied
from libs.ids import uuid_text
from libs.messaging.news import News
from libs.observability import metrics
from services.render import convert
from services.render.domain import MOST_RECOMMENDATIONS
from services.render.handlers import Deliveries, Library, Previews
from services.render.ports import Messages
from tessera.render.v1 import render_service_pb2 as pb
from tessera.render.v1 import render_service_pb2_grpc

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
_NEWEST = 1 << 62
_READ_PERSONAL = "pii.read"
# A message may have become due, or the server may drain, without news of it.
_LOOK_SECONDS = 0.5


class RenderServicer(render_service_pb2_grpc.RenderServiceServicer):
    """Translates calls for the use cases."""

    def __init__(
        self,
        library: Library,
        previews: Previews,
        messages: Messages,
        deliveries: Deliveries,
        news: News,
    ) -> None:
        self._library = library
        self._previews = previews
        self._messages = messages
        self._deliveries = deliveries
        self._news = news

    async def PutTemplate(self, request: pb.PutTemplateRequest, context: Context) -> pb.PutTemplateResponse:
        template_id = convert.template_id_of(request.template)
        template = await self._library.put_template(template_id, convert.sources_of(request.template))
        return pb.PutTemplateResponse(template=convert.template_pb(template))

    async def GetTemplate(self, request: pb.GetTemplateRequest, context: Context) -> pb.GetTemplateResponse:
        template = await self._library.template(request.template_id, request.version)
        return pb.GetTemplateResponse(template=convert.template_pb(template))

    async def ListTemplates(
        self, request: pb.ListTemplatesRequest, context: Context
    ) -> pb.ListTemplatesResponse:
        templates = await self._library.templates()
        return pb.ListTemplatesResponse(templates=[convert.template_pb(one) for one in templates])

    async def PutCampaign(self, request: pb.PutCampaignRequest, context: Context) -> pb.PutCampaignResponse:
        campaign = await self._library.put_campaign(convert.campaign_of(request.campaign))
        return pb.PutCampaignResponse(campaign=convert.campaign_pb(campaign))

    async def ListCampaigns(
        self, request: pb.ListCampaignsRequest, context: Context
    ) -> pb.ListCampaignsResponse:
        campaigns = await self._library.campaigns()
        return pb.ListCampaignsResponse(campaigns=[convert.campaign_pb(one) for one in campaigns])

    async def Preview(self, request: pb.PreviewRequest, context: Context) -> pb.PreviewResponse:
        sources = convert.sources_of(request.template)
        parts = await self._previews.preview(sources, convert.context_of(request.context_json))
        return pb.PreviewResponse(**parts)

    async def Render(self, request: pb.RenderRequest, context: Context) -> pb.RenderResponse:
        parts, context_json = await self._previews.render(
            request.template_id,
            uuid_text(request.profile_id, "profile_id"),
            max(0, min(request.recommendations, MOST_RECOMMENDATIONS)),
        )
        return pb.RenderResponse(context_json=context_json, **parts)

    async def ListMessages(
        self, request: pb.ListMessagesRequest, context: Context
    ) -> pb.ListMessagesResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        wanted = convert.filter_of(request)
        messages_of = (
            f"messages/{request.profile_id}/{request.campaign_id}/{request.outcome}/{request.delivery_state}"
        )
        (before,) = rpc.decode_token(request.page_token, messages_of, tuple[int]) or (_NEWEST,)
        page, more = await self._messages.page(wanted, before, size)
        return pb.ListMessagesResponse(
            messages=[convert.delivery_pb(delivery) for _, delivery in page],
            next_page_token=rpc.encode_token(messages_of, page[-1][0]) if more else "",
            totals=convert.totals_pb(await self._messages.totals(wanted)),
        )

    async def Subscribe(
        self, request: pb.SubscribeRequest, context: Context
    ) -> AsyncIterator[pb.SubscribeResponse]:
        if not rpc.caller().may(_READ_PERSONAL):
            raise PermissionDenied("a masked message can't be delivered", permission=_READ_PERSONAL)
        subscriber = convert.subscriber_of(request)
        log.info("connector subscribed", connector=request.connector, most=subscriber.max_in_flight)
        # Tells a connector that it is subscribed, also while no message comes.
        await context.send_initial_metadata(())
        stopping = rpc.stopping()
        while not stopping.is_set():
            seen = self._news.count
            granted = await self._deliveries.next(subscriber)
            for one in granted:
                yield convert.granted_pb(one)
            if not granted:
                await self._news.wait(seen, _LOOK_SECONDS)

    async def AcknowledgeMessages(
        self, request: pb.AcknowledgeMessagesRequest, context: Context
    ) -> pb.AcknowledgeMessagesResponse:
        leases = convert.leases_of(request.leases)
        lost = await self._deliveries.acknowledge(leases)
        metrics.DELIVERIES.labels("acknowledged").inc(len(leases) - len(lost))
        return pb.AcknowledgeMessagesResponse(lost=[convert.lease_pb(lease) for lease in lost])

    async def RejectMessages(
        self, request: pb.RejectMessagesRequest, context: Context
    ) -> pb.RejectMessagesResponse:
        leases = convert.leases_of(request.leases)
        reason, pause = convert.reason_of(request.reason), convert.pause_of(request)
        lost = await self._deliveries.reject(leases, reason, request.retry, pause)
        metrics.DELIVERIES.labels("retried" if request.retry else "rejected").inc(len(leases) - len(lost))
        return pb.RejectMessagesResponse(lost=[convert.lease_pb(lease) for lease in lost])
