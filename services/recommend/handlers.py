"""The use cases of recommend: follow what people do, and say what they may like."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.errors import Unavailable
from services.recommend.domain import (
    Facts,
    Liking,
    Person,
    Product,
    Ranking,
    Scored,
    Update,
    concerned,
    latest_facts,
)
from services.recommend.ports import Histories, ModelInfo, Models, People, Ranker, Shop

# So many histories are read before what they led to is saved: the transaction must not stand idle.
_REBUILT_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch."""

    applied: int
    repeated: int
    rebuilt: int


async def apply_updates(people: People, histories: Histories, updates: Sequence[Update]) -> Applied:
    """Apply a batch inside its transaction: drop what was applied before, rebuild where there is a gap."""
    known = await people.load({update.profile_id for update in updates})
    fresh = [update for update in updates if update.revision > known[update.profile_id].revision]
    gaps = _gaps(known, fresh)
    steady = [update for update in fresh if update.profile_id not in gaps]
    await people.load_interests(known, *concerned(steady))
    for update in sorted(steady, key=lambda update: update.revision):
        known[update.profile_id].apply(update)
    await people.save([known[profile_id] for profile_id in {update.profile_id for update in steady}])
    learnt = await _rebuild(people, histories, gaps)
    # The rows of the catalog are everybody's: they are locked last.
    await people.list_products(latest_facts([learnt, *(update.facts for update in fresh)]))
    return Applied(len(fresh), len(updates) - len(fresh), len(gaps))


def _gaps(known: Mapping[str, Person], fresh: Sequence[Update]) -> dict[str, int]:
    """The profiles of which steps are missing, with the last revision that was read."""
    revisions: dict[str, list[int]] = defaultdict(list)
    for update in fresh:
        revisions[update.profile_id].append(update.revision)
    return {
        profile_id: max(read)
        for profile_id, read in revisions.items()
        if sorted(set(read)) != list(range(known[profile_id].revision + 1, max(read) + 1))
    }


async def _rebuild(people: People, histories: Histories, gaps: Mapping[str, int]) -> Facts:
    """Forget some profiles and apply their whole histories; returns what those say of products."""
    learnt: Facts = {}
    wanted = sorted(gaps)
    for start in range(0, len(wanted), _REBUILT_AT_ONCE):
        rebuilt, said = await rebuild(histories, wanted[start : start + _REBUILT_AT_ONCE])
        for person in rebuilt:
            if person.revision == 0:
                # Erased since it was written: nothing of it is kept but how far it was read.
                person.revision = gaps[person.profile_id]
            elif person.revision < gaps[person.profile_id]:
                raise Unavailable("profile's history is not yet as far as its stream")
        await people.save(rebuilt)
        learnt = latest_facts([learnt, said])
    return learnt


async def rebuild(histories: Histories, profile_ids: Sequence[str]) -> tuple[list[Person], Facts]:
    """People as their whole histories make them, and what those say of products."""
    people = {profile_id: Person(profile_id, anew=True) for profile_id in profile_ids}
    said: list[Facts] = []
    finished: set[str] = set()
    async for part in histories.read(profile_ids):
        person = people[part.profile_id]
        for update in part.updates:
            person.apply(update)
            said.append(update.facts)
        if part.revision is not None:
            person.revision = part.revision
            finished.add(part.profile_id)
    if finished != people.keys():
        raise Unavailable("profile broke off in the middle of a history")
    return list(people.values()), latest_facts(said)


class Recommendations:
    """Says what people may like."""

    def __init__(self, shop: Shop, ranker: Ranker, models: Models) -> None:
        self._shop = shop
        self._ranker = ranker
        self._models = models

    async def recommend(
        self, profile_ids: Sequence[str], limit: int, exclude_purchased: bool
    ) -> dict[str, Ranking]:
        """One ranking for each id; somebody of whom nothing is known gets what is popular."""
        likings = await self._shop.likings(profile_ids)
        asked = list(dict.fromkeys(profile_ids))
        touched = [likings.get(profile_id, []) for profile_id in asked]
        rankings = await self._ranker.rank(touched, limit, exclude_purchased)
        if rankings is None:
            popular = await self._shop.popular()
            rankings = [_popular_for(popular, liked, limit, exclude_purchased) for liked in touched]
        return dict(zip(asked, rankings, strict=True))

    async def products(self, rankings: Mapping[str, Ranking]) -> Mapping[str, Product]:
        """The catalog's entries for all that is recommended."""
        return await self._shop.products(
            {scored.product_id for ranking in rankings.values() for scored in ranking.scored}
        )

    async def models(self) -> list[ModelInfo]:
        """The models that are kept, newest first."""
        return await self._models.all()


def _popular_for(
    popular: Sequence[Scored], liked: Sequence[Liking], limit: int, exclude_purchased: bool
) -> Ranking:
    left_out = {liking.product_id for liking in liked if liking.purchased} if exclude_purchased else set()
    return Ranking([scored for scored in popular if scored.product_id not in left_out][:limit], 0)
