"""What the use cases need from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.segment.membership.model import Membership, State, Transition


@dataclass(frozen=True, slots=True)
class Effect:
    """What a trigger does, named by its cause."""

    trigger_id: str
    cause_id: bytes


@dataclass(frozen=True, slots=True)
class Loaded:
    """The states of some profiles."""

    states: Mapping[str, State]
    """A new person's is empty. So is that of whom `unreadable` names, but for the memberships."""
    unreadable: Mapping[str, str]
    """Whose state is there and can't be read, and why."""
    set_aside: Collection[str]
    """Who is set aside: nothing is done for them before it is their turn to be rebuilt."""


class States(Protocol):
    """The states of the partitions that a worker owns, inside its transaction."""

    async def load(self, profile_ids: Collection[str]) -> Loaded:
        """The states of some profiles."""

    async def due(self, clocks: Mapping[int, int], limit: int) -> list[str]:
        """The profiles for whom time has become due, by the clocks of their partitions."""

    async def outdated(self, indexes: Collection[int], plan: int, limit: int) -> list[str]:
        """Profiles of some partitions whose states are of an older plan, but for those set aside."""

    async def to_rebuild(self, indexes: Collection[int], limit: int) -> list[str]:
        """Profiles of some partitions who are set aside, and whose turn it is to be rebuilt."""

    async def finish_plan(self, indexes: Collection[int], plan: int) -> None:
        """Note that no state of these partitions is of an older plan."""

    async def clocks(self, indexes: Collection[int]) -> dict[int, int]:
        """The time up to which everything has been applied, of each partition that knows it."""

    async def claim(self, triggered: Sequence[Transition]) -> set[Effect]:
        """Which of these effects nobody has caused before."""

    async def withdraw(self, withdrawn: Sequence[Transition]) -> set[Effect]:
        """Which of these effects were caused, and are taken back now for the first time."""

    async def save(self, states: Sequence[State], transitions: Sequence[Transition]) -> None:
        """Store states, their timers and memberships; Unavailable where another owner has done so.

        Who was set aside is no longer.
        """

    async def set_aside(self, reasons: Mapping[str, str]) -> None:
        """Do nothing more for some profiles, by id with the reason, until they are rebuilt."""

    async def save_clocks(self, clocks: Mapping[int, int]) -> None:
        """Store how far time has passed."""


class Members(Protocol):
    """Who is in which segment."""

    async def exists(self, segment_id: str) -> bool:
        """Whether there is such a segment."""

    async def page(self, segment_id: str, after: str, limit: int) -> list[tuple[str, Membership]]:
        """Members by profile id."""

    async def of(self, profile_ids: Sequence[str]) -> list[tuple[str, str, Membership]]:
        """The memberships (profile, segment, since when) of some profiles."""
