"""The gRPC API of campaigns."""

from typing import Any

import grpc

from libs import rpc
from services.render.campaigns import wire
from services.render.campaigns.use_cases import CampaignBook
from tessera.render.v1 import campaign_service_pb2 as pb
from tessera.render.v1 import campaign_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_PAGE, _MOST_PAGE = 50, 500
_NEWEST = 1 << 62


class CampaignServicer(campaign_service_pb2_grpc.CampaignServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, campaigns: CampaignBook) -> None:
        self._campaigns = campaigns

    async def CreateCampaign(
        self, request: pb.CreateCampaignRequest, context: Context
    ) -> pb.CreateCampaignResponse:
        campaign = await self._campaigns.create(
            wire.campaign_of(request.campaign), request.request_id, request.validate_only
        )
        return pb.CreateCampaignResponse(campaign=wire.campaign_pb(campaign))

    async def GetCampaign(self, request: pb.GetCampaignRequest, context: Context) -> pb.GetCampaignResponse:
        campaign = await self._campaigns.get(request.campaign_id, request.version)
        return pb.GetCampaignResponse(campaign=wire.campaign_pb(campaign))

    async def ListCampaigns(
        self, request: pb.ListCampaignsRequest, context: Context
    ) -> pb.ListCampaignsResponse:
        size = rpc.page_size(request.page_size, _PAGE, _MOST_PAGE)
        (after,) = rpc.decode_token(request.page_token, "campaigns", tuple[str]) or ("",)
        page, more = await self._campaigns.page(after, size)
        return pb.ListCampaignsResponse(
            campaigns=[wire.campaign_pb(one) for one in page],
            next_page_token=rpc.encode_token("campaigns", page[-1].campaign_id) if more else "",
        )

    async def UpdateCampaign(
        self, request: pb.UpdateCampaignRequest, context: Context
    ) -> pb.UpdateCampaignResponse:
        campaign = await self._campaigns.update(
            request.campaign.campaign_id,
            wire.change_of(request),
            request.campaign.etag,
            request.allow_missing,
            request.request_id,
            request.validate_only,
        )
        return pb.UpdateCampaignResponse(campaign=wire.campaign_pb(campaign))

    async def DeleteCampaign(
        self, request: pb.DeleteCampaignRequest, context: Context
    ) -> pb.DeleteCampaignResponse:
        await self._campaigns.delete(request.campaign_id, request.etag, request.allow_missing)
        return pb.DeleteCampaignResponse()

    async def ListCampaignVersions(
        self, request: pb.ListCampaignVersionsRequest, context: Context
    ) -> pb.ListCampaignVersionsResponse:
        size = rpc.page_size(request.page_size, _PAGE, _MOST_PAGE)
        versions_of = f"campaign versions/{request.campaign_id}"
        (below,) = rpc.decode_token(request.page_token, versions_of, tuple[int]) or (_NEWEST,)
        page, more = await self._campaigns.versions(request.campaign_id, below, size)
        return pb.ListCampaignVersionsResponse(
            campaigns=[wire.campaign_pb(one) for one in page],
            next_page_token=rpc.encode_token(versions_of, page[-1].version) if more else "",
        )
