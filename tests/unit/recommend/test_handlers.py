import asyncio

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from libs.errors import Unavailable
from services.recommend.domain import Kind, Liking, Scored, Touch, Update
from services.recommend.handlers import Applied, Recommendations, apply_updates
from tests.unit.recommend.fakes import MemoryHistories, MemoryModels, MemoryPeople, MemoryShop, NoRanker
from tests.unit.recommend.lives import ADA, BOB, deliveries, folded, lives


def _viewed(revision: int, profile_id: str = ADA, product_id: str = "lamp") -> Update:
    facts = {(product_id, "name"): (revision, f"{product_id} {revision}")}
    return Update(profile_id, revision, touches=[Touch(Kind.VIEWED, product_id, 1, "e")], facts=facts)


@given(st.data())
def test_following_the_stream_equals_rebuilding_from_history(data: st.DataObject) -> None:
    made = data.draw(lives())
    people, histories = MemoryPeople(), MemoryHistories(made.histories)
    for batch in data.draw(deliveries(made.stream)):
        asyncio.run(apply_updates(people, histories, batch))
    # Whatever was lost on the way is noticed at the next step.
    last = {profile_id: steps[-1] for profile_id, steps in made.histories.items() if steps}
    closing = [Update(p, step.revision + 1, merged_into=step.merged_into) for p, step in last.items()]
    for step in closing:
        histories.steps[step.profile_id] = [*made.histories[step.profile_id], step]
    asyncio.run(apply_updates(people, histories, closing))
    event("merged" if any(s.merged_into for s in closing) else "apart")
    event("rebuilt" if histories.asked else "streamed")

    rebuilt = {
        (profile_id, product_id): interest
        for profile_id, steps in histories.steps.items()
        for product_id, interest in folded(steps).items()
    }
    assert rebuilt == people.interests
    assert {s.profile_id: s.revision for s in closing} == {p: s.revision for p, s in people.people.items()}


async def test_a_gap_is_rebuilt_from_history() -> None:
    people, histories = MemoryPeople(), MemoryHistories({ADA: [_viewed(1), _viewed(2), _viewed(3)]})
    await apply_updates(people, histories, [_viewed(1)])
    applied = await apply_updates(people, histories, [_viewed(3), _viewed(1, BOB)])

    assert Applied(applied=2, repeated=0, rebuilt=1) == applied
    assert [ADA] == histories.asked
    assert 3 == people.interests[ADA, "lamp"].views
    assert 1 == people.interests[BOB, "lamp"].views


async def test_what_a_history_says_of_products_reaches_the_catalog() -> None:
    people, histories = MemoryPeople(), MemoryHistories({ADA: [_viewed(1, product_id="desk"), _viewed(2)]})
    await apply_updates(people, histories, [_viewed(2)])

    assert {("desk", "name"): (1, "desk 1"), ("lamp", "name"): (2, "lamp 2")} == people.catalog


async def test_a_history_that_is_behind_the_stream_is_asked_for_again() -> None:
    histories = MemoryHistories({ADA: [_viewed(1)]})

    with pytest.raises(Unavailable):
        await apply_updates(MemoryPeople(), histories, [_viewed(3)])


async def test_somebody_of_whom_profile_keeps_nothing_is_forgotten() -> None:
    people = MemoryPeople()
    await apply_updates(people, MemoryHistories(), [_viewed(1)])
    await apply_updates(people, MemoryHistories(), [_viewed(3)])

    assert {} == people.interests
    assert 3 == people.people[ADA].revision


async def test_steps_of_an_absorbed_profile_count_under_its_survivor() -> None:
    people = MemoryPeople()
    moved = Update(ADA, 1, touches=_viewed(1, BOB).touches)
    grave = Update(BOB, 2, merged_into=ADA)
    await apply_updates(people, MemoryHistories(), [_viewed(1, BOB), moved, grave])

    assert [(ADA, "lamp")] == list(people.interests)
    assert ADA == people.people[BOB].merged_into


async def test_before_the_first_model_popularity_answers_without_what_was_bought() -> None:
    best = [Scored("lamp", 3, similar=False), Scored("desk", 2, similar=False)]
    shop = MemoryShop({ADA: [Liking("lamp", 5, 1, purchased=True)]}, best)
    rankings = await Recommendations(shop, NoRanker(), MemoryModels()).recommend([ADA, BOB], 1, True)

    assert {ADA: [best[1]], BOB: [best[0]]} == {p: r.scored for p, r in rankings.items()}
    assert {0} == {ranking.model_version for ranking in rankings.values()}
