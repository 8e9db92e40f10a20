"""What segment keeps of a person, and what can happen to them: plain Python.

All times are microseconds since 1970. What is kept is a function of the updates and of the clock: not
of the order in which events came, nor of how they were batched. Only a membership's time and cause stay
what they were when the entry was told, whatever late event comes after.

What comes with every event is a msgspec struct: it is made and stored in a fraction of a dataclass's time.
"""

import math
from collections.abc import Collection, Sequence
from enum import Enum
from typing import Any

import msgspec
import orjson

from services.segment.membership.model.series import Division, SeriesState

_SERVER = 128
"""The bit of an event's origin that says that it came from a server source."""


def origin_of(trusted: bool, clock: int) -> int:
    """An event's origin in one byte: whether it is trusted, and a few bits of whose clock told its time."""
    return (_SERVER if trusted else 0) | clock % _SERVER


def is_trusted(origin: int) -> bool:
    """Whether an event of that origin came from a server source."""
    return origin >= _SERVER


class Fact(msgspec.Struct, array_like=True, gc=False):
    """A trait's value, or a purpose's consent, and the event that set it."""

    value: Any
    """None: removed."""
    time: int
    event_id: bytes
    before: Any = None
    """The value until then: whether a rule held before the change can be told."""
    trusted: bool = False
    """Whether a server source said so."""


def set_fact(facts: dict[str, Fact], name: str, new: Fact) -> None:
    """Let a value change; one that is only said again has held since it was said first."""
    old = facts.get(name)
    if old is None:
        facts[name] = new
    elif not _is_same(old.value, new.value):
        facts[name] = Fact(new.value, new.time, new.event_id, old.value, new.trusted)


def _is_same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, with numbers and booleans of one type however deep inside."""
    if type(one) is not type(other) or one != other:
        return False
    if not isinstance(one, dict | list):
        return True
    # To Python 1, 1.0 and True are equal, and so is what holds them.
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


def values_at(
    facts: dict[str, Fact], until: float = math.inf, names: Sequence[str] | None = None
) -> dict[str, Any]:
    """The values that had been set by then: all, or those of some names."""
    values: dict[str, Any] = {}
    for name in facts if names is None else names:
        fact = facts.get(name)
        if fact is not None:
            value = fact.value if fact.time <= until else fact.before
            if value is not None:
                values[name] = value
    return values


class Membership(msgspec.Struct, array_like=True, gc=False):
    """Since when, by the times of the events, and because of which event, a person is in a segment.

    What was told at the entry stays, whatever late event comes after.
    """

    entered: int
    cause_id: bytes
    event_id: bytes


class Rebuild(msgspec.Struct, array_like=True, gc=False):
    """What a state was before it was begun anew: it goes on from there once all that it knew is back."""

    revision: int
    plan: int
    news: list[bytes]
    """The ids of its news."""
    changed: bool
    open: bool


class State(msgspec.Struct, array_like=True, gc=False):
    """All that is kept of one person."""

    profile_id: str
    revision: int = 0
    plan: int = 0
    """The version of the plan that it was last evaluated with."""
    writes: int = 0
    """How often it was stored: it replaces nothing but the state that it was computed from."""
    as_of: int = 0
    """The time up to which time has passed for this person; 0 before the first."""
    first: tuple[int, bytes, bool] | None = None
    """Time and id of the earliest event, since when the person is known, and whether it is trusted."""
    traits: dict[str, Fact] = msgspec.field(default_factory=dict)
    """Those that rules read."""
    consent: dict[str, Fact] = msgspec.field(default_factory=dict)
    series: dict[int, SeriesState] = msgspec.field(default_factory=dict)
    memberships: dict[str, Membership] = msgspec.field(default_factory=dict)
    merged_into: str | None = None
    """The survivor; empty where profile knows nobody of this id any more."""
    open: bool = False
    """Further steps of the same change follow: nothing is decided before the last."""
    behind: bool = False
    """Its history has more, which is read in further portions: nothing is decided before the last."""
    changed: bool = False
    """Something came that was not evaluated yet."""
    news: list["Occurrence"] = msgspec.field(default_factory=list)
    """Events that were applied since time last passed: a wait that they began may be over already."""
    waiting: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    """The properties of the events whose wait for a trigger goes on, by event id."""
    due: int | None = None
    """When time alone may next change something."""
    window_end: int | None = None
    """No event leaves a window after `as_of` and before this; at its end where the state is settled."""
    fold_at: int | None = None
    """When the next event is old enough to be kept in the totals only."""
    rebuild: Rebuild | None = None
    """Set until a state that was begun anew has come to what it was."""
    anew: bool = False
    """Whether parts of an older state must go when this one is stored."""

    @property
    def is_undecided(self) -> bool:
        """Whether more must come before anything is decided."""
        return self.open or self.behind

    def close(self, survivor_id: str) -> None:
        """Keep nothing but the memberships that are to be left."""
        self.merged_into = survivor_id
        self.first = None
        self.window_end = self.fold_at = None
        self.anew = True
        for kept in (self.traits, self.consent, self.series, self.news, self.waiting):
            kept.clear()

    def drop_series(self, series_ids: Collection[int]) -> None:
        """Keep nothing of some series any more; what is left of the others is stored anew."""
        if not series_ids:
            return
        self.anew = self.anew or any(self.series[id_].division is not None for id_ in series_ids)
        for series_id in series_ids:
            del self.series[series_id]
        if self.anew:
            for _, _, division in self.divided():
                division.touched.update(division.numbers)

    def divided(self) -> list[tuple[int, SeriesState, Division]]:
        """The series that are divided, or were when they were stored, with their ids."""
        return [(id_, one, one.division) for id_, one in self.series.items() if one.division is not None]


class TransitionKind(Enum):
    """What can happen."""

    ENTERED = "entered"
    EXITED = "exited"
    TRIGGERED = "triggered"
    WITHDRAWN = "withdrawn"


class ExitReason(Enum):
    """Why a membership ended."""

    RULE = "rule"
    MERGED = "merged"
    DEFINITION = "definition"


class Transition(msgspec.Struct, frozen=True, gc=False):
    """A person entered or left a segment, or a trigger fired, or took back that it had."""

    profile_id: str
    revision: int
    kind: TransitionKind
    definition_id: str
    time: int
    cause_id: bytes
    """16 bytes: with the definition, the name of the effect."""
    event_id: bytes = b""
    properties: bytes = b""
    """The deciding event's properties, where they are at hand."""
    event_name: str = ""
    """The deciding event's name, where it is at hand."""
    exit_reason: ExitReason | None = None
    trusted: bool = False
    """Whether the deciding event came from a server source."""


class Occurrence(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An event as rules see it."""

    event_id: bytes
    name: str
    """Empty where rules have no name for it."""
    time: int
    properties: bytes
    """A JSON object, or nothing: only read where a rule asks for it."""
    received: int = 0
    origin: int = 0
    """By `origin_of`."""
    view: str = ""
    """`page` or `screen` where it is a view of one, else empty."""
    viewed: str = ""
    """The name of the page or screen."""


class Update(msgspec.Struct, frozen=True, gc=False):
    """One step of a profile's life, as profile tells it."""

    profile_id: str
    revision: int
    moved: bool = False
    more: bool = False
    merged_into: str | None = None
    occurrences: tuple[Occurrence, ...] = ()
    traits: tuple[tuple[str, Fact], ...] = ()
    """What changed."""
    consent: tuple[tuple[str, Fact], ...] = ()
