"""Lives that hypothesis makes up: two people who may turn out to be one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from services.recommend.interactions.model import Interest, Kind, Person, Touch, Update

ADA = "00000000-0000-4000-8000-000000000001"
BOB = "00000000-0000-4000-8000-000000000002"

touches = st.builds(
    Touch,
    kind=st.sampled_from([*Kind, Kind.ORDERED]),
    product_id=st.sampled_from(["lamp", "desk", "chair"]),
    time=st.integers(1, 9),
    order_id=st.sampled_from(["o1", "o2", "o3"]),
) | st.builds(
    Touch,
    kind=st.just(Kind.REFUNDED),
    product_id=st.just(""),
    time=st.integers(1, 9),
    order_id=st.sampled_from(["o1", "o2", "o3"]),
)
steps = st.lists(st.lists(touches, max_size=3), max_size=8)


@dataclass(frozen=True)
class Lives:
    """The stream as it is written, and the histories that profile keeps in the end."""

    stream: Sequence[Update]
    histories: dict[str, list[Update]]


@st.composite
def lives(draw: st.DrawFn) -> Lives:
    """Ada's and Bob's steps in one stream; Bob may be absorbed by Ada in its middle."""
    before_ada, before_bob, after = draw(steps), draw(steps), draw(steps)
    ada = _numbered(ADA, before_ada)
    bob = _numbered(BOB, before_bob)
    if draw(st.booleans()):
        moved = [replace(s, profile_id=ADA, revision=len(ada) + n) for n, s in enumerate(bob, 1)]
        grave = Update(BOB, len(bob) + 1, merged_into=ADA)
        ada_after = _numbered(ADA, after, len(ada) + len(moved))
        stream = [*_mixed(draw, ada, bob), *_mixed(draw, [*moved, *ada_after], [grave])]
        return Lives(stream, {ADA: [*ada, *moved, *ada_after], BOB: [grave]})
    return Lives(_mixed(draw, ada, bob), {ADA: ada, BOB: bob})


def _numbered(profile_id: str, parts: Sequence[Sequence[Touch]], start: int = 0) -> list[Update]:
    return [Update(profile_id, n, touches=part) for n, part in enumerate(parts, start + 1)]


def _mixed(draw: st.DrawFn, one: Sequence[Update], other: Sequence[Update]) -> list[Update]:
    """One stream of both, each in its own order."""
    queues = {True: list(one), False: list(other)}
    takers = draw(st.permutations([True] * len(one) + [False] * len(other)))
    return [queues[taker].pop(0) for taker in takers]


@st.composite
def deliveries(draw: st.DrawFn, stream: Sequence[Update]) -> list[list[Update]]:
    """A stream in batches, of which some come twice and some single records never."""
    batches: list[list[Update]] = []
    rest = list(stream)
    while rest:
        size = draw(st.integers(1, 5))
        batch, rest = rest[:size], rest[size:]
        if draw(st.integers(0, 4)) == 0:
            batch = batch[1:]
        batches += [batch, batch] if draw(st.integers(0, 3)) == 0 else [batch]
    return [batch for batch in batches if batch]


def folded(history: Sequence[Update]) -> dict[str, Interest]:
    """The interests that a whole history makes: what every other way must equal."""
    person = Person("")
    for update in history:
        person.apply(update)
    return person.interests
