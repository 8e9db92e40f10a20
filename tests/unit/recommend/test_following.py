import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from services.recommend.catalog.model import Statements
from services.recommend.interactions.model import Kind, Touch, Update
from services.recommend.interactions.use_cases import Followed
from tests.unit.recommend.fakes import Kept, MemoryHistories, MemoryPeople, as_read
from tests.unit.recommend.lives import ADA, BOB, deliveries, folded, lives


def _viewed(revision: int, profile_id: str = ADA, product_id: str = "lamp") -> Update:
    facts = {(product_id, "name"): (revision, f"{product_id} {revision}")}
    said = Statements(frozenset({product_id}), facts)
    return Update(profile_id, revision, touches=[Touch(Kind.VIEWED, product_id, 1, "e")], said=said)


def _life(length: int, profile_id: str = ADA) -> list[Update]:
    return [_viewed(revision, profile_id) for revision in range(1, length + 1)]


@settings(deadline=None)
@given(st.data())
def test_following_the_stream_equals_rebuilding_from_history(data: st.DataObject) -> None:
    made = data.draw(lives())
    kept = Kept(MemoryHistories(made.histories, parts=data.draw(st.sampled_from([1, 2, 1_000_000]))))
    # In the midst of the stream the histories are as they are in the end: a turn may come any time.
    batches = [(batch, data.draw(st.booleans())) for batch in data.draw(deliveries(made.stream))]
    # Whatever was lost on the way is noticed at the next step.
    last = {profile_id: steps[-1] for profile_id, steps in made.histories.items() if steps}
    closing = [Update(p, step.revision + 1, merged_into=step.merged_into) for p, step in last.items()]
    turns = asyncio.run(_follow_all(kept, batches, closing))
    event("merged" if any(s.merged_into for s in closing) else "apart")
    event("read on" if kept.histories.asked else "streamed")
    event("in portions" if turns else "at once")

    rebuilt = {
        (profile_id, product_id): interest
        for profile_id, steps in kept.histories.steps.items()
        for product_id, interest in folded(steps).items()
    }
    assert rebuilt == kept.people.interests
    revisions = {p: s.revision for p, s in kept.people.people.items()}
    assert {s.profile_id: s.revision for s in closing} == revisions


async def _follow_all(
    kept: Kept, batches: Sequence[tuple[list[Update], bool]], closing: Sequence[Update]
) -> int:
    """Follow batches, each with a turn behind it or not, then the last steps; returns the turns it took."""
    for batch, is_turn in batches:
        await kept.follow(batch)
        if is_turn:
            await kept.catch_up()
    for step in closing:
        kept.histories.steps[step.profile_id] = [*kept.histories.steps[step.profile_id], step]
    await kept.follow(closing)
    turns = 0
    while await kept.catch_up():
        turns += 1
    return turns


async def test_a_gap_is_filled_from_history() -> None:
    kept = Kept(MemoryHistories({ADA: _life(3)}))
    await kept.follow([_viewed(1)])
    followed = await kept.follow([_viewed(3), _viewed(1, BOB)])

    assert Followed(applied=1, read_on=1) == followed
    assert [ADA] == kept.histories.asked
    assert 3 == kept.people.interests[ADA, "lamp"].views
    assert 1 == kept.people.interests[BOB, "lamp"].views


async def test_what_a_history_says_of_products_reaches_the_catalog() -> None:
    kept = Kept(MemoryHistories({ADA: [_viewed(1, product_id="desk"), _viewed(2)]}))
    await kept.follow([_viewed(2)])

    assert {("desk", "name"): (1, "desk 1"), ("lamp", "name"): (2, "lamp 2")} == kept.catalog.said.facts


async def test_a_history_that_is_behind_the_stream_is_read_again() -> None:
    kept = Kept(MemoryHistories({ADA: _life(1)}))
    await kept.follow([_viewed(3), _viewed(1, BOB)])
    before = dict(kept.aside.reasons)
    kept.histories.steps[ADA] = _life(3)
    await kept.catch_up()

    assert {ADA} == before.keys()
    assert {} == kept.aside.reasons
    assert (3, 1) == (kept.people.interests[ADA, "lamp"].views, kept.people.interests[BOB, "lamp"].views)


async def test_somebody_of_whom_profile_keeps_nothing_is_forgotten() -> None:
    kept = Kept()
    await kept.follow([_viewed(1)])
    await kept.follow([_viewed(3)])

    assert {} == kept.people.interests
    assert 3 == kept.people.people[ADA].revision
    assert {} == kept.aside.reasons


async def test_steps_of_an_absorbed_profile_count_under_its_survivor() -> None:
    kept = Kept()
    moved = Update(ADA, 1, touches=_viewed(1, BOB).touches)
    grave = Update(BOB, 2, merged_into=ADA)
    await kept.follow([_viewed(1, BOB), moved, grave])

    assert [(ADA, "lamp")] == list(kept.people.interests)
    assert ADA == kept.people.people[BOB].merged_into


async def test_a_rebuild_that_takes_longer_than_its_deadline_goes_on_where_it_was() -> None:
    """Ten steps come two a part, and one part a call: six turns, the last of which has nothing more."""
    kept = Kept(MemoryHistories({ADA: _life(10)}, parts=1))
    await kept.follow([_viewed(10)])
    seen = [kept.people.people[ADA].revision]
    while await kept.catch_up():
        seen.append(kept.people.people[ADA].revision)

    assert [2, 4, 6, 8, 10, 10] == seen
    assert 10 == kept.people.interests[ADA, "lamp"].views


async def test_what_comes_while_a_long_history_is_read_is_counted_once() -> None:
    kept = Kept(MemoryHistories({ADA: _life(8)}, parts=1))
    await kept.follow([_viewed(6)])
    await kept.follow([_viewed(7)])
    await kept.catch_up()
    await kept.follow([_viewed(8)])
    while await kept.catch_up():
        pass

    assert 8 == kept.people.interests[ADA, "lamp"].views


async def test_a_history_that_cannot_be_read_sets_its_person_aside_alone() -> None:
    kept = Kept(MemoryHistories({ADA: _life(3), BOB: _life(3, BOB)}, problems={ADA: "no step 2"}))
    followed = await kept.follow([_viewed(3), _viewed(3, BOB), _viewed(1, "carol")])
    again = await kept.follow([_viewed(4)])
    before = dict(kept.aside.reasons)
    kept.histories.problems.clear()
    kept.histories.steps[ADA] = _life(4)
    await kept.catch_up()

    assert Followed(applied=1, read_on=2) == followed
    assert Followed(applied=0, read_on=0) == again
    assert {ADA: "no step 2"} == before
    assert [4, 3, 1] == [kept.people.interests[who, "lamp"].views for who in (ADA, BOB, "carol")]
    assert {} == kept.aside.reasons


async def test_a_step_that_cannot_be_read_is_taken_from_history() -> None:
    kept = Kept(MemoryHistories({ADA: _life(2)}))

    def unreadable() -> Update:
        raise ValueError("not a step")

    readers = as_read([_viewed(1), _viewed(1, BOB)])
    readers[ADA].append(unreadable)
    await kept.follower.follow(readers)

    assert [2, 1] == [kept.people.interests[who, "lamp"].views for who in (ADA, BOB)]


async def test_a_step_that_cannot_be_applied_costs_its_person_alone() -> None:
    kept = Kept()
    wrong = Update(ADA, 1, touches=[Touch(Kind.VIEWED, "lamp", "late", "e")])  # type: ignore[arg-type]
    followed = await kept.follow([wrong, _viewed(1, BOB)])

    assert [ADA] == list(kept.aside.reasons)
    assert "TypeError" in kept.aside.reasons[ADA]
    assert [(BOB, "lamp")] == list(kept.people.interests)
    assert 0 == followed.read_on


@pytest.mark.parametrize("parts", [1, 1_000_000])
async def test_one_bad_state_costs_itself_alone_and_is_rebuilt(parts: int) -> None:
    steps = _life(3)
    kept = Kept(MemoryHistories({ADA: steps}, parts=parts))
    await kept.follow([*steps[:2], _viewed(1, BOB)])
    kept.people.damaged.add(ADA)
    await kept.follow([steps[2], _viewed(2, BOB)])
    while await kept.catch_up():
        pass

    assert {ADA} == set(kept.histories.asked)
    assert [3, 2] == [kept.people.interests[who, "lamp"].views for who in (ADA, BOB)]


async def test_interests_that_cannot_be_read_are_rebuilt() -> None:
    class Unreadable(MemoryPeople):
        async def load_interests(self, people, pairs, whole):  # type: ignore[no-untyped-def]
            await super().load_interests(people, pairs, whole)
            return {ADA} & {profile_id for profile_id, _ in pairs}

    kept = Kept(MemoryHistories({ADA: _life(2)}))
    await kept.follow([_viewed(1), _viewed(1, BOB)])
    kept.people = Unreadable(kept.people.people, kept.people.interests)
    await kept.follow([_viewed(2), _viewed(2, BOB)])

    assert [ADA] == kept.histories.asked
    assert [2, 2] == [kept.people.interests[who, "lamp"].views for who in (ADA, BOB)]
