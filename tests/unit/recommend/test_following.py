import asyncio

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from libs.errors import Unavailable
from services.recommend.catalog.model import Statements
from services.recommend.interactions.model import Kind, Touch, Update
from services.recommend.interactions.use_cases import Applied, apply_updates
from tests.unit.recommend.fakes import MemoryCatalog, MemoryHistories, MemoryPeople
from tests.unit.recommend.lives import ADA, BOB, deliveries, folded, lives


def _viewed(revision: int, profile_id: str = ADA, product_id: str = "lamp") -> Update:
    facts = {(product_id, "name"): (revision, f"{product_id} {revision}")}
    said = Statements(frozenset({product_id}), facts)
    return Update(profile_id, revision, touches=[Touch(Kind.VIEWED, product_id, 1, "e")], said=said)


@given(st.data())
def test_following_the_stream_equals_rebuilding_from_history(data: st.DataObject) -> None:
    made = data.draw(lives())
    people, histories = MemoryPeople(), MemoryHistories(made.histories)
    for batch in data.draw(deliveries(made.stream)):
        asyncio.run(apply_updates(people, MemoryCatalog(), histories, batch))
    # Whatever was lost on the way is noticed at the next step.
    last = {profile_id: steps[-1] for profile_id, steps in made.histories.items() if steps}
    closing = [Update(p, step.revision + 1, merged_into=step.merged_into) for p, step in last.items()]
    for step in closing:
        histories.steps[step.profile_id] = [*made.histories[step.profile_id], step]
    asyncio.run(apply_updates(people, MemoryCatalog(), histories, closing))
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
    await apply_updates(people, MemoryCatalog(), histories, [_viewed(1)])
    applied = await apply_updates(people, MemoryCatalog(), histories, [_viewed(3), _viewed(1, BOB)])

    assert Applied(applied=2, repeated=0, rebuilt=1) == applied
    assert [ADA] == histories.asked
    assert 3 == people.interests[ADA, "lamp"].views
    assert 1 == people.interests[BOB, "lamp"].views


async def test_what_a_history_says_of_products_reaches_the_catalog() -> None:
    catalog, histories = MemoryCatalog(), MemoryHistories({ADA: [_viewed(1, product_id="desk"), _viewed(2)]})
    await apply_updates(MemoryPeople(), catalog, histories, [_viewed(2)])

    assert {("desk", "name"): (1, "desk 1"), ("lamp", "name"): (2, "lamp 2")} == catalog.said.facts


async def test_a_history_that_is_behind_the_stream_is_asked_for_again() -> None:
    histories = MemoryHistories({ADA: [_viewed(1)]})

    with pytest.raises(Unavailable):
        await apply_updates(MemoryPeople(), MemoryCatalog(), histories, [_viewed(3)])


async def test_somebody_of_whom_profile_keeps_nothing_is_forgotten() -> None:
    people = MemoryPeople()
    await apply_updates(people, MemoryCatalog(), MemoryHistories(), [_viewed(1)])
    await apply_updates(people, MemoryCatalog(), MemoryHistories(), [_viewed(3)])

    assert {} == people.interests
    assert 3 == people.people[ADA].revision


async def test_steps_of_an_absorbed_profile_count_under_its_survivor() -> None:
    people = MemoryPeople()
    moved = Update(ADA, 1, touches=_viewed(1, BOB).touches)
    grave = Update(BOB, 2, merged_into=ADA)
    await apply_updates(people, MemoryCatalog(), MemoryHistories(), [_viewed(1, BOB), moved, grave])

    assert [(ADA, "lamp")] == list(people.interests)
    assert ADA == people.people[BOB].merged_into


async def test_one_bad_state_costs_itself_alone_and_is_rebuilt() -> None:
    steps = [_viewed(1), _viewed(2), _viewed(3)]
    people, histories = MemoryPeople(), MemoryHistories({ADA: steps})
    await apply_updates(people, MemoryCatalog(), histories, [*steps[:2], _viewed(1, BOB)])
    people.damaged.add(ADA)
    applied = await apply_updates(people, MemoryCatalog(), histories, [steps[2], _viewed(2, BOB)])

    assert Applied(applied=2, repeated=0, rebuilt=1) == applied
    assert [ADA] == histories.asked
    assert (3, 2) == (people.interests[ADA, "lamp"].views, people.interests[BOB, "lamp"].views)
