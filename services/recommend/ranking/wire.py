"""Between the contract and what is asked and answered."""

from collections.abc import Callable
from typing import Final, TypeAlias

from services.recommend.catalog.model import Product
from services.recommend.ranking.model import Answer, Question
from tessera.recommend.v1 import product_pb2, recommendation_pb2
from tessera.recommend.v1 import recommend_service_pb2 as pb

ToProduct: TypeAlias = Callable[[Product], product_pb2.Product]
"""How the catalog translates its products."""

_REASONS: Final = {
    True: recommendation_pb2.RECOMMENDATION_REASON_SIMILAR,
    False: recommendation_pb2.RECOMMENDATION_REASON_POPULAR,
}


def question_of(request: pb.RecommendRequest) -> Question:
    """From the contract."""
    return Question(
        profile_id=request.profile_id,
        limit=request.limit,
        exclude_purchased=request.exclude_purchased,
        exclude_in_cart=request.exclude_in_cart,
        exclude_product_ids=list(request.exclude_product_ids),
    )


def answer_pb(answer: Answer, product_pb: ToProduct) -> pb.RecommendResponse:
    """To the contract."""
    return pb.RecommendResponse(
        recommendations=[
            recommendation_pb2.Recommendation(
                product=product_pb(one.product), score=one.score, reason=_REASONS[one.similar]
            )
            for one in answer.recommended
        ],
        model_version=answer.model_version,
    )
