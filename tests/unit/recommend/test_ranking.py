"""What is asked and answered, with everything outside in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from libs.errors import Invalid
from services.recommend.interactions.model import Liking, Popular
from services.recommend.ranking.model import CART_DAYS, Question, Ranking, Scored, Taste
from services.recommend.ranking.use_cases import Recommendations
from tests.unit.recommend.fakes import MemoryInteractions, MemoryProducts, NoRanker
from tests.unit.recommend.lives import ADA, BOB

NOW = 1_700_000_000
DAY = 86_400
MICROS = 1_000_000


@dataclass
class ListRanker:
    """Ranks a list of products, the same for everybody, without what is excluded."""

    products: Sequence[str]
    asked: list[tuple[int, int, bool]] = field(default_factory=list)
    """How many tastes, what limit, and whether what was bought is left out."""

    async def rank(self, tastes: Sequence[Taste], limit: int, discovers: bool) -> list[Ranking] | None:
        self.asked.append((len(tastes), limit, discovers))
        return [
            Ranking([Scored(p, 1.0, True) for p in self.products if p not in taste.excluded][:limit], 7)
            for taste in tastes
        ]


def _recommendations(
    liked: dict[str, list[Liking]] | None = None,
    ranker: Any = None,
    popular: Sequence[str] = ("lamp", "desk", "chair"),
    known: set[str] | None = None,
    clock: Any = lambda: float(NOW),
) -> Recommendations:
    interactions = MemoryInteractions(liked or {}, [Popular(product_id, 1.0) for product_id in popular])
    return Recommendations(interactions, MemoryProducts(known), ranker or NoRanker(), clock)


async def _products(recommendations: Recommendations, question: Question) -> list[str]:
    answer = await recommendations.one(question)
    return [one.product.product_id for one in answer.recommended]


BOTH = pytest.mark.parametrize(
    "ranker", [None, ListRanker(["lamp", "desk", "chair"])], ids=["popular", "model"]
)


@BOTH
async def test_what_the_mail_is_about_is_never_recommended(ranker: Any) -> None:
    recommendations = _recommendations(ranker=ranker)

    assert ["desk", "chair"] == await _products(
        recommendations, Question(ADA, exclude_product_ids=["lamp", "nobody's"])
    )


@BOTH
async def test_what_lies_in_the_cart_is_never_recommended_where_that_is_asked(ranker: Any) -> None:
    added = Liking("desk", 3, NOW * MICROS, purchased=False, cart_time=(NOW - 29 * DAY) * MICROS)
    recommendations = _recommendations({ADA: [added]}, ranker)

    assert ["lamp", "chair"] == await _products(recommendations, Question(ADA, exclude_in_cart=True))
    assert ["lamp", "desk", "chair"] == await _products(recommendations, Question(ADA))


async def test_a_cart_of_long_ago_is_none() -> None:
    added = Liking("desk", 3, 1, purchased=False, cart_time=(NOW - CART_DAYS * DAY) * MICROS - 1)
    recommendations = _recommendations({ADA: [added]})

    assert "desk" in await _products(recommendations, Question(ADA, exclude_in_cart=True))


async def test_what_only_lies_in_the_cart_says_nothing_of_a_liking() -> None:
    seen: list[Taste] = []

    class Watching(ListRanker):
        async def rank(self, tastes: Sequence[Taste], limit: int, discovers: bool) -> list[Ranking] | None:
            seen.extend(tastes)
            return await super().rank(tastes, limit, discovers)

    seen_in_cart = Liking("desk", 0, 0, purchased=False, cart_time=NOW * MICROS)
    await _products(
        _recommendations({ADA: [seen_in_cart]}, Watching(["desk"])), Question(ADA, exclude_in_cart=True)
    )

    assert [Taste([], {"desk"})] == seen


@BOTH
async def test_only_what_a_server_has_named_is_recommended(ranker: Any) -> None:
    recommendations = _recommendations(ranker=ranker, known={"desk", "chair"})

    assert ["desk", "chair"] == await _products(recommendations, Question(ADA))


async def test_a_batch_answers_each_request_as_it_asks_in_their_order() -> None:
    ranker = ListRanker(["lamp", "desk", "chair"])
    bought = Liking("lamp", 5, NOW * MICROS, purchased=True)
    recommendations = _recommendations({ADA: [bought]}, ranker)
    answers = await recommendations.several([
        Question(ADA, limit=1, exclude_purchased=True),
        Question(BOB, limit=2),
        Question(ADA, limit=1),
        Question(ADA, limit=3, exclude_purchased=True, exclude_product_ids=["desk"]),
    ])  # fmt: skip

    found = [[one.product.product_id for one in answer.recommended] for answer in answers]
    assert [["desk"], ["lamp", "desk"], ["lamp"], ["chair"]] == found
    assert [(2, 2, False), (2, 3, True)] == ranker.asked


async def test_before_the_first_model_popularity_answers_without_what_was_bought() -> None:
    recommendations = _recommendations({ADA: [Liking("lamp", 5, 1, purchased=True)]})
    answers = await recommendations.several(
        [Question(who, limit=1, exclude_purchased=True) for who in (ADA, BOB)]
    )

    assert ["desk", "lamp"] == [answer.recommended[0].product.product_id for answer in answers]
    assert {0} == {answer.model_version for answer in answers}
    assert {False} == {answer.recommended[0].similar for answer in answers}


async def test_what_is_popular_is_read_once_for_many_calls() -> None:
    now = [float(NOW)]
    interactions = MemoryInteractions({}, [Popular("lamp", 1.0)])
    recommendations = Recommendations(interactions, MemoryProducts(), NoRanker(), lambda: now[0])
    await asyncio.gather(*(recommendations.one(Question(ADA)) for _ in range(5)))
    readings = [interactions.readings]
    now[0] += 31
    await recommendations.one(Question(ADA))

    assert [1, 2] == [*readings, interactions.readings]


@pytest.mark.parametrize(
    ("questions", "field"),
    [
        ([], "requests"),
        ([Question(ADA)] * 501, "requests"),
        ([Question(ADA), Question("ada")], "requests[1].profile_id"),
        ([Question("")], "requests[0].profile_id"),
        ([Question(ADA, limit=-1)], "requests[0].limit"),
        ([Question(ADA, exclude_product_ids=["x"] * 501)], "requests[0].exclude_product_ids"),
        ([Question(ADA, exclude_product_ids=["a", "x" * 256])], "requests[0].exclude_product_ids[1]"),
    ],
)
async def test_a_wrong_request_names_its_field(questions: list[Question], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        await _recommendations().several(questions)

    assert field == caught.value.field
