"""What the use cases need from outside."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.segment.domain import (
    Membership,
    SegmentDefinition,
    State,
    Transition,
    TriggerDefinition,
    Update,
)


@dataclass(frozen=True, slots=True)
class HistoryPart:
    """A part of what a profile tells of itself."""

    profile_id: str
    updates: Sequence[Update]
    revision: int | None
    """Set on the profile's last part: the revision that the history is of; 0 where nobody has the id."""


class Histories(Protocol):
    """Where whole histories are read from: profile."""

    def read(self, profile_ids: Sequence[str]) -> AsyncIterator[HistoryPart]:
        """The histories of some profiles, each in order; Unavailable while profile does not answer."""


class States(Protocol):
    """The states of the partitions that a worker owns, inside its transaction."""

    async def load(self, profile_ids: Collection[str]) -> dict[str, State]:
        """The states of some profiles; a new person's is empty."""

    async def due(self, clocks: Mapping[int, int], limit: int) -> list[str]:
        """The profiles for whom time has become due, by the clocks of their partitions."""

    async def outdated(self, indexes: Collection[int], plan: int, limit: int) -> list[str]:
        """Profiles of some partitions whose states are of an older plan."""

    async def finish_plan(self, indexes: Collection[int], plan: int) -> None:
        """Note that no state of these partitions is of an older plan."""

    async def clocks(self, indexes: Collection[int]) -> dict[int, int]:
        """The time up to which everything has been applied, of each partition that knows it."""

    async def claim(self, triggered: Sequence[Transition]) -> set[tuple[str, bytes]]:
        """Which of these effects (definition, cause) nobody has caused before."""

    async def save(self, states: Sequence[State], transitions: Sequence[Transition]) -> None:
        """Store states, their timers and memberships; Unavailable where another owner has done so."""

    async def save_clocks(self, clocks: Mapping[int, int]) -> None:
        """Store how far time has passed."""


class Definitions(Protocol):
    """Segments and triggers."""

    async def put_segment(self, definition: SegmentDefinition) -> SegmentDefinition:
        """Store a definition, in a new version where it differs."""

    async def put_trigger(self, definition: TriggerDefinition) -> TriggerDefinition:
        """Store a definition, in a new version where it differs."""

    async def delete_segment(self, segment_id: str) -> bool:
        """Whether there was one."""

    async def delete_trigger(self, trigger_id: str) -> bool:
        """Whether there was one."""

    async def segment(self, segment_id: str) -> SegmentDefinition | None:
        """One, with the number of its members."""

    async def segments(self) -> list[SegmentDefinition]:
        """All, by id, with the numbers of their members."""

    async def triggers(self) -> list[TriggerDefinition]:
        """All, by id."""


class Members(Protocol):
    """Who is in which segment."""

    async def exists(self, segment_id: str) -> bool:
        """Whether there is such a segment."""

    async def page(self, segment_id: str, after: str, limit: int) -> list[tuple[str, Membership]]:
        """Members by profile id."""

    async def of(self, profile_ids: Sequence[str]) -> list[tuple[str, str, Membership]]:
        """The memberships (profile, segment, since when) of some profiles."""
