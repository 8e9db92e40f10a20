"""What a trigger is."""

from dataclasses import dataclass
from enum import Enum


class TriggerMode(Enum):
    """For which of several start events a trigger fires."""

    LAST_EVENT = "last"
    """Each start event begins the wait anew."""
    EACH_EVENT = "each"
    """Each start event has a wait of its own."""


@dataclass(frozen=True, slots=True)
class TriggerDefinition:
    """An event that was not answered by another within a delay. Times are microseconds."""

    trigger_id: str
    display_name: str
    event_name: str
    unless: tuple[str, ...]
    delay: int
    condition: str
    version: int = 0
    """Counts every change of the definition."""
    plan: int = 0
    """The version of the plan in which its rule came."""
    since: int = 0
    """When its rule came, since 1970: waits that were over by then never fire."""
    mode: TriggerMode = TriggerMode.LAST_EVENT
    withdraws: bool = False
    """Whether an answer that comes after it has fired takes the effect back."""
    created: int = 0
    """Since 1970; so is the next."""
    updated: int = 0
    active: bool = False
    backfill: str = ""
    """The operation that evaluates all people by its rule, where it is still known."""

    @property
    def rule(self) -> tuple[str, tuple[str, ...], int, str, TriggerMode, bool]:
        """What makes it fire: a change of anything else computes nothing anew."""
        return self.event_name, self.unless, self.delay, self.condition, self.mode, self.withdraws


@dataclass(frozen=True, slots=True)
class TriggerVersion:
    """A trigger as it was."""

    version: int
    definition: TriggerDefinition
    created: int
