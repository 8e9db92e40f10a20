"""Recommend's ports in memory."""

import itertools
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

from libs.profile_feed import HistoryPart
from services.recommend.catalog.model import Product, Statements, merged
from services.recommend.interactions.model import Interest, Liking, Person, Popular, Update
from services.recommend.interactions.use_cases import Followed, Follower
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
class MemoryAside:
    """Who is set aside, with the reason; everybody's turn is always."""

    reasons: dict[str, str] = field(default_factory=dict)

    async def among(self, profile_ids: Collection[str]) -> set[str]:
        return {profile_id for profile_id in profile_ids if profile_id in self.reasons}

    async def due(self, indexes: Sequence[int], limit: int) -> list[str]:
        return list(self.reasons)[:limit]

    async def put(self, reasons: Mapping[str, str]) -> None:
        self.reasons.update(reasons)

    async def ask(self, profile_ids: Sequence[str]) -> None:
        self.reasons.update(dict.fromkeys(profile_ids, "asked for"))

    async def settle(self, profile_ids: Collection[str]) -> None:
        for profile_id in profile_ids:
            self.reasons.pop(profile_id, None)


@dataclass
class MemoryHistories:
    """Histories as profile would keep them: steps by profile, two a part."""

    steps: dict[str, list[Update]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    """Whose history can't be read, and why."""
    parts: int = 1_000_000
    """So many parts come in the time of one call."""

    def read(self, after: Mapping[str, int]) -> AsyncIterator[HistoryPart[Update]]:
        self.asked += after
        return self._parts(after)

    async def _parts(self, after: Mapping[str, int]) -> AsyncIterator[HistoryPart[Update]]:
        parts = (part for profile_id, revision in after.items() for part in self._of(profile_id, revision))
        for part in itertools.islice(parts, self.parts):
            yield part

    def _of(self, profile_id: str, after: int) -> Iterator[HistoryPart[Update]]:
        if profile_id in self.problems:
            yield HistoryPart(profile_id, problem=self.problems[profile_id])
            return
        steps = self.steps.get(profile_id, [])
        behind = [step for step in steps if step.revision > after]
        for start in range(0, len(behind), 2):
            yield HistoryPart(profile_id, behind[start : start + 2])
        yield HistoryPart(profile_id, revision=steps[-1].revision if steps else 0)


@dataclass
class Kept:
    """A follower with all that it keeps in memory."""

    histories: MemoryHistories = field(default_factory=MemoryHistories)
    people: MemoryPeople = field(default_factory=MemoryPeople)
    catalog: MemoryCatalog = field(default_factory=MemoryCatalog)
    aside: MemoryAside = field(default_factory=MemoryAside)

    @property
    def follower(self) -> Follower:
        """As a worker has one for each transaction."""
        return Follower(self.people, self.catalog, self.aside, self.histories)

    async def follow(self, updates: Iterable[Update]) -> Followed:
        """Apply a batch."""
        return await self.follower.follow(as_read(updates))

    async def catch_up(self) -> Followed | None:
        """Let it be the turn of those who are set aside."""
        return await self.follower.catch_up([0])


def as_read(updates: Iterable[Update]) -> dict[str, list[Callable[[], Update]]]:
    """Updates as the stream's handler hands them on."""
    readers: dict[str, list[Callable[[], Update]]] = {}
    for update in updates:
        readers.setdefault(update.profile_id, []).append(partial(_same, update))
    return readers


def _same(update: Update) -> Update:
    return update


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
