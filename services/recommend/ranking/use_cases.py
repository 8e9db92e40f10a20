"""Says what people may like."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from libs.errors import Invalid, Required, TooLarge
from libs.ids import uuid_text
from services.recommend.model import MOST_ID
from services.recommend.ranking.model import (
    Answer,
    Question,
    Ranking,
    Recommended,
    Scored,
    Taste,
    taste_of,
)
from services.recommend.ranking.ports import Catalog, Interactions, Ranker

MOST_QUESTIONS: Final = 500
MOST_EXCLUDED: Final = 500
_USUAL: Final = 10
_MOST: Final = 100
_POPULAR_SECONDS: Final = 30.0


class Recommendations:
    """Says what people may like. Only what the shop's servers have named is recommended to anybody."""

    def __init__(
        self,
        interactions: Interactions,
        catalog: Catalog,
        ranker: Ranker,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._interactions = interactions
        self._catalog = catalog
        self._ranker = ranker
        self._clock = clock
        self._popular: list[Scored] = []
        self._popular_until = 0.0
        self._reading_popular = asyncio.Lock()

    async def one(self, question: Question) -> Answer:
        """The answer to one question; Invalid names the field that is wrong."""
        return (await self._answers([_checked(question, "")]))[0]

    async def several(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers to from 1 to 500 questions, in their order."""
        if not questions:
            raise Required("requests", f"must hold from 1 to {MOST_QUESTIONS} requests, not 0")
        if len(questions) > MOST_QUESTIONS:
            asked = f"{len(questions):,}"
            raise TooLarge("requests", f"must hold from 1 to {MOST_QUESTIONS} requests, not {asked}")
        return await self._answers(
            [_checked(question, f"requests[{place}].") for place, question in enumerate(questions)]
        )

    async def _answers(self, questions: Sequence[Question]) -> list[Answer]:
        likings = await self._interactions.likings({question.profile_id for question in questions})
        now = int(self._clock() * 1_000_000)
        tastes = [taste_of(one, likings.get(one.profile_id, []), now) for one in questions]
        rankings: dict[int, Ranking] = {}
        for discovers in (False, True):
            places = [place for place, one in enumerate(questions) if one.exclude_purchased is discovers]
            if places:
                limit = max(questions[place].limit for place in places)
                ranked = await self._rank([tastes[place] for place in places], limit, discovers)
                rankings |= zip(places, ranked, strict=True)
        listed = await self._catalog.products(
            {scored.product_id for ranking in rankings.values() for scored in ranking.scored}
        )
        answers = []
        for place, question in enumerate(questions):
            ranking = rankings[place]
            # A product that has gone from the catalog since the training is nobody's any more.
            recommended = [
                Recommended(listed[one.product_id], one.score, one.similar)
                for one in ranking.scored
                if one.product_id in listed
            ]
            answers.append(Answer(recommended[: question.limit], ranking.model_version))
        return answers

    async def _rank(self, tastes: Sequence[Taste], limit: int, discovers: bool) -> Sequence[Ranking]:
        rankings = await self._ranker.rank(tastes, limit, discovers)
        if rankings is not None:
            return rankings
        popular = await self._popularity()
        return [
            Ranking([one for one in popular if one.product_id not in taste.excluded][:limit], 0)
            for taste in tastes
        ]

    async def _popularity(self) -> Sequence[Scored]:
        """What is popular, for the time before the first model: read now and again, not for every call."""
        async with self._reading_popular:
            if self._clock() >= self._popular_until:
                found = await self._interactions.popular()
                listed = await self._catalog.products([one.product_id for one in found])
                self._popular = [
                    Scored(one.product_id, one.weight, similar=False)
                    for one in found
                    if one.product_id in listed
                ]
                self._popular_until = self._clock() + _POPULAR_SECONDS
            return self._popular


def _checked(question: Question, where: str) -> Question:
    """A question in its normal form; `where` stands before the names of fields."""
    if question.limit < 0:
        raise Invalid(f"{where}limit", "must not be negative")
    excluded = question.exclude_product_ids
    if len(excluded) > MOST_EXCLUDED:
        raise TooLarge(
            f"{where}exclude_product_ids", f"must hold at most {MOST_EXCLUDED} ids, not {len(excluded):,}"
        )
    for place, product_id in enumerate(excluded):
        if len(product_id) > MOST_ID:
            field = f"{where}exclude_product_ids[{place}]"
            raise TooLarge(field, f"must have at most {MOST_ID} characters, not {len(product_id):,}")
    return replace(
        question,
        profile_id=uuid_text(question.profile_id, f"{where}profile_id"),
        limit=min(question.limit or _USUAL, _MOST),
    )
