"""The gRPC API of recommendations."""

from typing import Any

import grpc

from services.recommend.ranking import wire
from services.recommend.ranking.use_cases import Recommendations
from tessera.recommend.v1 import recommend_service_pb2 as pb
from tessera.recommend.v1 import recommend_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class RecommendServicer(recommend_service_pb2_grpc.RecommendServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, recommendations: Recommendations, product_pb: wire.ToProduct) -> None:
        self._recommendations = recommendations
        self._product_pb = product_pb

    async def Recommend(self, request: pb.RecommendRequest, context: Context) -> pb.RecommendResponse:
        answer = await self._recommendations.one(wire.question_of(request))
        return wire.answer_pb(answer, self._product_pb)

    async def BatchRecommend(
        self, request: pb.BatchRecommendRequest, context: Context
    ) -> pb.BatchRecommendResponse:
        questions = [wire.question_of(one) for one in request.requests]
        answers = await self._recommendations.several(questions)
        responses = [wire.answer_pb(answer, self._product_pb) for answer in answers]
        return pb.BatchRecommendResponse(responses=responses)
