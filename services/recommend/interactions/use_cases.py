"""Follows what people do with products."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from libs.errors import Unavailable
from services.recommend.catalog.model import Statements, merged
from services.recommend.interactions.model import Person, Update, concerned
from services.recommend.interactions.ports import Catalog, Histories, People

log = structlog.get_logger(__name__)

# So many histories are read before what they led to is saved: the transaction must not stand idle.
_REBUILT_AT_ONCE: Final = 100
_MOST_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch."""

    applied: int
    repeated: int
    rebuilt: int


async def apply_updates(
    people: People, catalog: Catalog, histories: Histories, updates: Sequence[Update]
) -> Applied:
    """Apply a batch inside its transaction: drop what was applied before, rebuild where there is a gap.

    Whoever is stored in a form that can't be read is rebuilt as well.
    """
    known = await people.load({update.profile_id for update in updates})
    fresh = [update for update in updates if _is_fresh(known[update.profile_id], update)]
    gaps = _gaps(known, fresh)
    steady = [update for update in fresh if update.profile_id not in gaps]
    unreadable = await people.load_interests(known, *concerned(steady))
    if unreadable:
        log.error("interests can't be read: rebuilt", profiles=sorted(unreadable)[:_MOST_NAMED])
        gaps |= _last_revisions(update for update in steady if update.profile_id in unreadable)
        steady = [update for update in steady if update.profile_id not in unreadable]
    for update in sorted(steady, key=lambda update: update.revision):
        known[update.profile_id].apply(update)
    await people.save([known[profile_id] for profile_id in {update.profile_id for update in steady}])
    learnt = await _rebuild(people, histories, gaps)
    touched = {touch.product_id for update in fresh for touch in update.touches} - {""}
    # The rows of the catalog are everybody's: they are locked last.
    await catalog.add(merged([learnt, *(update.said for update in fresh)]), touched)
    return Applied(len(fresh), len(updates) - len(fresh), len(gaps))


def _is_fresh(person: Person, update: Update) -> bool:
    return person.damaged or update.revision > person.revision


def _last_revisions(updates: Iterable[Update]) -> dict[str, int]:
    last: dict[str, int] = {}
    for update in updates:
        last[update.profile_id] = max(update.revision, last.get(update.profile_id, 0))
    return last


def _gaps(known: Mapping[str, Person], fresh: Sequence[Update]) -> dict[str, int]:
    """The profiles that can't be followed step by step, with the last revision that was read."""
    revisions: dict[str, set[int]] = defaultdict(set)
    for update in fresh:
        revisions[update.profile_id].add(update.revision)
    return {
        profile_id: max(read)
        for profile_id, read in revisions.items()
        if known[profile_id].damaged
        or sorted(read) != list(range(known[profile_id].revision + 1, max(read) + 1))
    }


async def _rebuild(people: People, histories: Histories, gaps: Mapping[str, int]) -> Statements:
    """Forget some profiles and apply their whole histories; returns what those say of products."""
    said: list[Statements] = []
    wanted = sorted(gaps)
    for start in range(0, len(wanted), _REBUILT_AT_ONCE):
        rebuilt, learnt = await rebuild(histories, wanted[start : start + _REBUILT_AT_ONCE])
        for person in rebuilt:
            if person.revision == 0:
                # Erased since it was written: nothing of it is kept but how far it was read.
                person.revision = gaps[person.profile_id]
            elif person.revision < gaps[person.profile_id]:
                raise Unavailable("profile's history is not yet as far as its stream")
        await people.save(rebuilt)
        said.append(learnt)
    return merged(said)


async def rebuild(histories: Histories, profile_ids: Sequence[str]) -> tuple[list[Person], Statements]:
    """People as their whole histories make them, and what those say of products."""
    people = {profile_id: Person(profile_id, anew=True) for profile_id in profile_ids}
    said: list[Statements] = []
    finished: set[str] = set()
    async for part in histories.read(profile_ids):
        person = people[part.profile_id]
        for update in part.updates:
            person.apply(update)
            said.append(update.said)
        if part.revision is not None:
            person.revision = part.revision
            finished.add(part.profile_id)
    if finished != people.keys():
        raise Unavailable("profile broke off in the middle of a history")
    return list(people.values()), merged(said)
