"""Recommend's ports in memory."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from services.recommend.domain import (
    Facts,
    Interest,
    Liking,
    Person,
    Product,
    Ranking,
    Scored,
    Update,
    latest_facts,
)
from services.recommend.ports import History, ModelInfo, StoredModel


@dataclass
class MemoryPeople:
    """People as they were saved."""

    people: dict[str, Person] = field(default_factory=dict)
    interests: dict[tuple[str, str], Interest] = field(default_factory=dict)
    catalog: Facts = field(default_factory=dict)

    async def load(self, profile_ids: Collection[str]) -> dict[str, Person]:
        return {p: deepcopy(self.people.get(p, Person(p))) for p in profile_ids}

    async def load_interests(
        self, people: Mapping[str, Person], pairs: Collection[tuple[str, str]], whole: Collection[str]
    ) -> None:
        for pair, interest in self.interests.items():
            if pair in pairs or pair[0] in whole:
                people[pair[0]].interests[pair[1]] = deepcopy(interest)

    async def save(self, people: Collection[Person]) -> None:
        for person in people:
            if person.anew:
                self.interests = {k: v for k, v in self.interests.items() if k[0] != person.profile_id}
            for product_id in person.changed:
                self.interests[person.profile_id, product_id] = deepcopy(person.interests[product_id])
            self.people[person.profile_id] = Person(
                person.profile_id, person.revision, person.merged_into, set(person.refunded)
            )

    async def list_products(self, facts: Facts) -> None:
        self.catalog = latest_facts([self.catalog, facts])


@dataclass
class MemoryHistories:
    """Histories as profile would keep them: steps by profile, several parts each."""

    steps: dict[str, list[Update]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def read(self, profile_ids: Sequence[str]) -> AsyncIterator[History]:
        self.asked += profile_ids
        return self._parts(profile_ids)

    async def _parts(self, profile_ids: Sequence[str]) -> AsyncIterator[History]:
        for profile_id in profile_ids:
            steps = self.steps.get(profile_id, [])
            for start in range(0, len(steps), 2):
                yield History(profile_id, steps[start : start + 2], None)
            yield History(profile_id, (), steps[-1].revision if steps else 0)


@dataclass
class MemoryShop:
    """What people did, and the catalog."""

    liked: dict[str, list[Liking]] = field(default_factory=dict)
    best: Sequence[Scored] = ()

    async def likings(self, profile_ids: Sequence[str]) -> dict[str, list[Liking]]:
        return {p: self.liked[p] for p in profile_ids if p in self.liked}

    async def popular(self) -> Sequence[Scored]:
        return self.best

    async def products(self, product_ids: Collection[str]) -> dict[str, Product]:
        return {product_id: Product(product_id) for product_id in product_ids}


@dataclass
class MemoryModels:
    """Models, newest last."""

    stored: list[StoredModel] = field(default_factory=list)

    async def newer_than(self, version: int) -> StoredModel | None:
        newest = self.stored[-1] if self.stored else None
        return newest if newest and newest.version > version else None

    async def all(self) -> list[ModelInfo]:
        return [ModelInfo(m.version, 0, 0, 0, len(m.product_ids), {}) for m in reversed(self.stored)]


class NoRanker:
    """The time before the first model."""

    async def rank(
        self, likings: Sequence[Sequence[Liking]], limit: int, exclude_purchased: bool
    ) -> list[Ranking] | None:
        return None
