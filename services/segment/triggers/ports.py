"""What the use cases need from outside."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from services.segment.model import Named
from services.segment.triggers.model import TriggerDefinition, TriggerVersion


class TriggerStore(Protocol):
    """The triggers and their versions."""

    async def get(self, trigger_id: str) -> TriggerDefinition | None:
        """One, where there is one."""

    async def page(self, after: str, limit: int) -> list[TriggerDefinition]:
        """Some by id."""

    async def insert(self, definition: TriggerDefinition, request_id: str) -> TriggerDefinition:
        """Store a new one; AlreadyExists, unless the same request made it."""

    async def replace(self, definition: TriggerDefinition, base: int) -> TriggerDefinition:
        """Store a change of the version `base`; Conflict where that is not the newest any more."""

    async def delete(self, trigger_id: str, base: int) -> None:
        """Delete it; Conflict where `base` is not the newest version any more."""

    async def versions(self, trigger_id: str, before: int, limit: int) -> list[TriggerVersion]:
        """Those below a version, newest first."""


class EventNames(Protocol):
    """The names of events and traits that were seen."""

    async def seen(self) -> Mapping[Named, Sequence[str]]:
        """Those of each kind, most frequent first."""


class PlanChanges(Protocol):
    """The plan that a change of definitions is published with, in the transaction of `connection`."""

    async def next_version(self, connection: Any) -> int:
        """The version that a change of rules will make; one change of definitions at a time."""

    async def publish(self, connection: Any, trigger_id: str, rules_changed: bool) -> None:
        """Let a change of a definition be taken up; people are evaluated anew where its rule changed."""

    async def done(self, connection: Any) -> int:
        """The newest version of which all people are."""

    async def backfills(self, connection: Any, versions: Collection[int]) -> Mapping[int, str]:
        """By version, the operation that evaluates all people anew, where it is still known."""
