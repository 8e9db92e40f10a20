"""Follows what people do with products."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from libs.errors import Unavailable
from libs.profile_feed.ports import Histories
from libs.profile_feed.revisions import has_gap, unseen
from services.recommend.catalog.model import Statements, merged
from services.recommend.interactions.model import Person, Update, concerned
from services.recommend.interactions.ports import Aside, Catalog, People

# So many histories are read before what they led to is saved: the transaction must not stand idle.
READ_AT_ONCE: Final = 100

Updates = Mapping[str, Sequence[Callable[[], Update]]]
"""By profile, what reads each of its steps in turn: one may not be readable."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of a batch."""

    applied: int
    """Steps that were new."""
    read_on: int
    """People whose histories were read, since something was missing before their steps."""


@dataclass(slots=True)
class _Heard:
    """What was heard of products on the way."""

    said: list[Statements] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)

    def take(self, update: Update) -> None:
        self.said.append(update.said)
        self.touched.update(touch.product_id for touch in update.touches)


class Follower:
    """Keeps what the people of some partitions did, inside a transaction of their owner.

    Each person stands alone: whose steps or history can't be worked with is set aside, and whose state
    can't be read is rebuilt.
    """

    def __init__(self, people: People, catalog: Catalog, aside: Aside, histories: Histories[Update]) -> None:
        self._people = people
        self._catalog = catalog
        self._aside = aside
        self._histories = histories

    async def follow(self, updates: Updates) -> Followed:
        """Apply a batch's steps: drop what was applied before, read on where something is missing."""
        # Whoever is set aside is read on when it is their turn: their history holds these steps too.
        aside = await self._aside.among(updates)
        known = await self._people.load([id_ for id_ in updates if id_ not in aside])
        steady: dict[str, list[Update]] = {}
        told: dict[str, int] = {}
        for profile_id, person in known.items():
            steps, is_whole = _read(updates[profile_id])
            told[profile_id] = max((step.revision for step in steps), default=0)
            fresh = unseen(steps, person.revision)
            if is_whole and not person.damaged and not has_gap(fresh, person.revision):
                steady[profile_id] = fresh
        heard = _Heard()
        failed = await self._apply(known, steady, heard)
        behind = [known[id_] for id_ in known if id_ not in steady and id_ not in failed]
        await self._read_on(behind, told, heard)
        # The rows of the catalog are everybody's: they are locked last.
        await self._catalog.add(merged(heard.said), heard.touched - {""})
        return Followed(sum(map(len, steady.values())), len(behind))

    async def catch_up(self, indexes: Sequence[int]) -> Followed | None:
        """Read on in the histories of some whose turn it is; None where there are none."""
        due = await self._aside.due(indexes, READ_AT_ONCE)
        if not due:
            return None
        known = await self._people.load(due)
        heard = _Heard()
        await self._read_on(list(known.values()), {}, heard)
        await self._catalog.add(merged(heard.said), heard.touched - {""})
        return Followed(0, len(due))

    async def _apply(
        self, known: Mapping[str, Person], steady: dict[str, list[Update]], heard: _Heard
    ) -> set[str]:
        """Apply steps that follow each other; whom that fails for is set aside.

        Those whose interests can't be read are taken out of `steady`: they are rebuilt.
        """
        updates = [update for fresh in steady.values() for update in fresh]
        for profile_id in await self._people.load_interests(known, *concerned(updates)):
            known[profile_id].damaged = True
            del steady[profile_id]
        failures: dict[str, str] = {}
        for profile_id, fresh in steady.items():
            failure = _advance(known[profile_id], fresh, heard)
            if failure:
                failures[profile_id] = failure
        await self._people.save(
            [known[id_] for id_, fresh in steady.items() if fresh and id_ not in failures]
        )
        await self._aside.put(failures)
        return set(failures)

    async def _read_on(self, people: Sequence[Person], told: Mapping[str, int], heard: _Heard) -> None:
        """Apply what is missing of people's histories, as far as it comes in the time of one call a portion.

        The rest comes when it is their turn; `told` says how far the stream has told of them.
        """
        for first in range(0, len(people), READ_AT_ONCE):
            left = await self._read_portion(people[first : first + READ_AT_ONCE], told, heard)
            if left:
                await self._aside.ask([*left, *(p.profile_id for p in people[first + READ_AT_ONCE :])])
                return

    async def _read_portion(
        self, people: Sequence[Person], told: Mapping[str, int], heard: _Heard
    ) -> list[str]:
        """Read on for some; returns those of whom there is more."""
        by_id = {person.profile_id: person for person in people}
        readable = [person.profile_id for person in people if not person.damaged]
        for profile_id in await self._people.load_interests(by_id, (), readable):
            by_id[profile_id].damaged = True
        for person in people:
            if person.damaged:
                person.begin_anew()
        failures: dict[str, str] = {}
        finished: set[str] = set()
        async for part in self._histories.read({id_: p.revision for id_, p in by_id.items()}):
            person = by_id[part.profile_id]
            failure = part.problem or _advance(person, part.steps, heard)
            if failure:
                failures.setdefault(part.profile_id, failure)
            elif part.revision is not None and person.complete(part.revision, told.get(part.profile_id, 0)):
                finished.add(part.profile_id)
        await self._people.save([by_id[id_] for id_ in by_id if id_ not in failures])
        await self._aside.put(failures)
        await self._aside.settle(finished - failures.keys())
        return [id_ for id_ in by_id if id_ not in finished and id_ not in failures]


def _read(readers: Iterable[Callable[[], Update]]) -> tuple[list[Update], bool]:
    """The steps that can be read, and whether that is all of them."""
    steps: list[Update] = []
    is_whole = True
    for read in readers:
        try:
            steps.append(read())
        except Exception:
            # The history has the same step: whether it can be read there decides.
            is_whole = False
    return steps, is_whole


def _advance(person: Person, updates: Collection[Update], heard: _Heard) -> str:
    """Apply steps to a person; returns what failed, which is this person's alone."""
    try:
        for update in updates:
            person.apply(update)
    except Unavailable:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    for update in updates:
        heard.take(update)
    return ""
