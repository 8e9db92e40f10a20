"""The gRPC API of recommend."""

from typing import Any

import grpc

from libs.ids import uuid_text
from services.recommend import convert
from services.recommend.handlers import Recommendations
from tessera.recommend.v1 import recommend_service_pb2 as pb
from tessera.recommend.v1 import recommend_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class RecommendServicer(recommend_service_pb2_grpc.RecommendServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, recommendations: Recommendations) -> None:
        self._recommendations = recommendations

    async def Recommend(self, request: pb.RecommendRequest, context: Context) -> pb.RecommendResponse:
        profile_id = uuid_text(request.profile_id, "profile_id")
        limit = convert.limit_of(request.limit)
        rankings = await self._recommendations.recommend([profile_id], limit, request.exclude_purchased)
        return convert.recommend_pb(rankings[profile_id], await self._recommendations.products(rankings))

    async def BatchRecommend(
        self, request: pb.BatchRecommendRequest, context: Context
    ) -> pb.BatchRecommendResponse:
        asked = convert.profile_ids(request.profile_ids)
        limit = convert.limit_of(request.limit)
        rankings = await self._recommendations.recommend(
            list(asked.values()), limit, request.exclude_purchased
        )
        products = await self._recommendations.products(rankings)
        return pb.BatchRecommendResponse(
            results={name: convert.recommend_pb(rankings[id_], products) for name, id_ in asked.items()}
        )

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        models = await self._recommendations.models()
        return pb.ListModelsResponse(models=[convert.model_pb(model) for model in models])
