"""What the use cases need from outside."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from services.segment.definitions.model import SegmentDefinition, SegmentVersion
from services.segment.model import Named


class SegmentStore(Protocol):
    """The segments and their versions."""

    async def get(self, segment_id: str) -> SegmentDefinition | None:
        """One, with the number of its members."""

    async def page(self, after: str, limit: int) -> list[SegmentDefinition]:
        """Some by id, with the numbers of their members."""

    async def insert(self, definition: SegmentDefinition, request_id: str) -> SegmentDefinition:
        """Store a new one; AlreadyExists, unless the same request made it."""

    async def replace(self, definition: SegmentDefinition, base: int) -> SegmentDefinition:
        """Store a change of the version `base`; Conflict where that is not the newest any more."""

    async def delete(self, segment_id: str, base: int) -> None:
        """Delete it; Conflict where `base` is not the newest version any more."""

    async def versions(self, segment_id: str, before: int, limit: int) -> list[SegmentVersion]:
        """Those below a version, newest first."""


class EventNames(Protocol):
    """The names of events and traits that were seen."""

    async def seen(self) -> Mapping[Named, Sequence[str]]:
        """Those of each kind, most frequent first."""


class PlanChanges(Protocol):
    """The plan that a change of definitions is published with, in the transaction of `connection`."""

    async def next_version(self, connection: Any) -> int:
        """The version that a change of rules will make; one change of definitions at a time."""

    async def publish(self, connection: Any, segment_id: str, rules_changed: bool) -> None:
        """Let a change of a definition be taken up; people are evaluated anew where its rule changed."""

    async def done(self, connection: Any) -> int:
        """The newest version of which all people are."""

    async def backfills(self, connection: Any, versions: Collection[int]) -> Mapping[int, str]:
        """By version, the operation that evaluates all people anew, where it is still known."""
