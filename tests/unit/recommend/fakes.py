"""Recommend's ports in memory."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from services.recommend.catalog.model import Product, Statements, merged
from services.recommend.interactions.model import Interest, Liking, Person, Popular, Update
from services.recommend.interactions.ports import History
from services.recommend.ranking.model import Ranking, Taste
from services.recommend.registry.model import StoredModel


@dataclass
class MemoryPeople:
    """People as they were saved."""

    people: dict[str, Person] = field(default_factory=dict)
    interests: dict[tuple[str, str], Interest] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    """Of whom nothing can be read until they are saved anew."""

    async def load(self, profile_ids: Collection[str]) -> dict[str, Person]:
        loaded = {p: deepcopy(self.people.get(p, Person(p))) for p in profile_ids}
        for profile_id in self.damaged & loaded.keys():
            loaded[profile_id].damaged = True
        return loaded

    async def load_interests(
        self, people: Mapping[str, Person], pairs: Collection[tuple[str, str]], whole: Collection[str]
    ) -> set[str]:
        for pair, interest in self.interests.items():
            if pair in pairs or pair[0] in whole:
                people[pair[0]].interests[pair[1]] = deepcopy(interest)
        return set()

    async def save(self, people: Collection[Person]) -> None:
        for person in people:
            if person.anew:
                self.damaged.discard(person.profile_id)
                self.interests = {k: v for k, v in self.interests.items() if k[0] != person.profile_id}
            for product_id in person.changed:
                self.interests[person.profile_id, product_id] = deepcopy(person.interests[product_id])
            self.people[person.profile_id] = Person(
                person.profile_id, person.revision, person.merged_into, set(person.refunded)
            )


@dataclass
class MemoryCatalog:
    """What was said of products."""

    said: Statements = field(default_factory=Statements)
    touched: set[str] = field(default_factory=set)

    async def add(self, statements: Statements, touched: Collection[str]) -> None:
        self.said = merged([self.said, statements])
        self.touched.update(touched)


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
class MemoryInteractions:
    """What people did."""

    liked: dict[str, list[Liking]] = field(default_factory=dict)
    best: list[Popular] = field(default_factory=list)
    readings: int = 0
    """How often what is popular was read."""

    async def likings(self, profile_ids: Collection[str]) -> dict[str, list[Liking]]:
        return {p: self.liked[p] for p in profile_ids if p in self.liked}

    async def popular(self) -> list[Popular]:
        self.readings += 1
        return self.best


@dataclass
class MemoryProducts:
    """A catalog that knows some products, or every one that it is asked for."""

    known: set[str] | None = None

    async def products(self, product_ids: Collection[str]) -> dict[str, Product]:
        return {p: Product(p) for p in product_ids if self.known is None or p in self.known}


@dataclass
class MemoryModels:
    """Models, newest last."""

    stored: list[StoredModel] = field(default_factory=list)
    read: int = 0
    """How many models were handed out."""

    async def newer_than(self, version: int, but: Collection[int]) -> StoredModel | None:
        newer = [one for one in self.stored if one.version > version and one.version not in but]
        self.read += bool(newer)
        return newer[-1] if newer else None


class NoRanker:
    """The time before the first model."""

    async def rank(self, tastes: Sequence[Taste], limit: int, discovers: bool) -> list[Ranking] | None:
        return None
