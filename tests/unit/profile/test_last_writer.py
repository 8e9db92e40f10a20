"""The last writer: one defined outcome each, the same in every order of arrival."""

import itertools

import pytest

from services.profile.identity.model import Event
from tests.unit.profile.people import MemoryPeople, event

Write = tuple[int, int, bytes | None]

_CASES: dict[str, tuple[list[Write], bytes | None]] = {
    "equal times: the greater event id": ([(5, 1, b'"a"'), (5, 2, b'"b"'), (5, 3, b'"c"')], b'"c"'),
    "a late event for a trait set since": (
        [(9, 1, b'"new"'), (3, 2, b'"old"'), (4, 3, b'"older"')],
        b'"new"',
    ),
    "a number becomes a string": ([(1, 1, b"7"), (2, 2, b'"7"')], b'"7"'),
    "2^53 + 1": ([(1, 1, b"9007199254740992"), (2, 2, b"9007199254740993")], b"9007199254740993"),
    "a trait set to null": ([(1, 1, b"1"), (2, 2, None), (1, 3, b"3")], None),
    "null, and set again": ([(1, 1, b"1"), (2, 2, None), (3, 3, b"3")], b"3"),
    "null at an equal time": ([(2, 1, None), (2, 2, b"2")], b"2"),
}


def _events(writes: list[Write], *identifiers: str) -> list[Event]:
    return [event(*identifiers, at=at, number=n, traits={"x": value}) for at, n, value in writes]


@pytest.mark.parametrize("case", _CASES)
def test_the_last_writer(case: str) -> None:
    writes, expected = _CASES[case]
    for order in itertools.permutations(_events(writes, "u:1")):
        for batch in (1, len(writes)):
            people = MemoryPeople()
            for start in range(0, len(order), batch):
                people.apply(*order[start : start + batch])

            assert expected == people.holder("u:1").traits["x"].value


@pytest.mark.parametrize("case", _CASES)
def test_the_last_writer_across_a_merge(case: str) -> None:
    writes, expected = _CASES[case]
    parts = [
        event(identifier, at=e.time, number=number, traits=e.traits)
        for number, (e, identifier) in enumerate(zip(_events(writes, ""), itertools.cycle(["u:1", "a:1"])), 1)
    ]
    for order in itertools.permutations([*parts, event("u:1", "a:1", number=99)]):
        people = MemoryPeople()
        for one in order:
            people.apply(one)

        assert expected == people.holder("a:1").traits["x"].value
