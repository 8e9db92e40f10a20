"""The model's steps as segment reads them."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import orjson

from services.segment.membership.model import Fact, Occurrence, State, Update, origin_of
from tests.model.facts import Said
from tests.model.following import Step


def update_of(step: Step) -> Update:
    """What profile tells of the step."""
    return Update(
        step.profile_id,
        step.revision,
        moved=step.moved,
        more=step.more,
        merged_into=step.merged_into,
        occurrences=tuple(
            Occurrence(
                e.event_id,
                e.known_as,
                e.time,
                orjson.dumps(dict(e.properties)),
                e.received,
                origin_of(e.trusted, 0),
            )
            for e in step.events
        ),
        traits=_facts(step.traits),
        consent=_facts(step.consent),
    )


def _facts(changes: Iterable[tuple[str, Said]]) -> tuple[tuple[str, Fact], ...]:
    return tuple((name, Fact(said.value, said.time, said.event_id)) for name, said in changes)


T = TypeVar("T")


def _same(value: T) -> T:
    return value


def by_profile(updates: Iterable[Update]) -> dict[str, list[Callable[[], Update]]]:
    """A batch as the follower takes it."""
    found: dict[str, list[Callable[[], Update]]] = {}
    for update in updates:
        found.setdefault(update.profile_id, []).append(partial(_same, update))
    return found


def essence(state: State) -> dict[str, object]:
    """What must be the same however a state came about: all but when and why somebody was told to enter."""
    fields = "plan as_of first traits consent merged_into waiting due window_end fold_at".split()
    return {
        "members": state.memberships.keys(),
        "series": {series_id: series.undivided() for series_id, series in state.series.items()},
        **{name: getattr(state, name) for name in fields},
    }
