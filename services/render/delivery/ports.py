"""What keeping messages and handing them out needs from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.render.delivery.model import DeliveryState, Granted, Lease, Message, Outcome
from services.render.model.people import Person, Stream


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are wanted: empty and None for all."""

    profile_id: str = ""
    campaign_id: str = ""
    outcome: Outcome | None = None
    delivery_state: DeliveryState | None = None


class Messages(Protocol):
    """Stored decisions."""

    async def get(self, message_id: str) -> Message | None:
        """One, with what it says."""

    async def page(self, wanted: Filter, before: int, limit: int) -> tuple[list[tuple[int, Message]], bool]:
        """The newest below a number, each with its own, and whether there are more; without bodies."""

    async def counts(self, wanted: Filter) -> Mapping[Outcome, int]:
        """How many there are of each outcome, whichever outcome is wanted."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A connector's stream."""

    holder: str
    """Names the stream among all that ever were."""
    max_in_flight: int
    lease_seconds: int
    stream: Stream | None


class Queue(Protocol):
    """Messages that wait for connectors."""

    async def expire(self, now: int) -> int:
        """Withdraw what has waited too long and nobody holds; returns how many."""

    async def lease(self, subscriber: Subscriber, now: int) -> list[Granted]:
        """Give as many as the stream may still hold."""

    async def withdraw(self, reasons: Mapping[Lease, str]) -> None:
        """Take messages back for good."""

    async def put_back(self, leases: Collection[Lease], due: int) -> None:
        """Take leases back as if they had not been given."""

    async def acknowledge(self, leases: Collection[Lease]) -> list[Lease]:
        """Record deliveries; returns the leases that were lost."""

    async def reject(self, leases: Collection[Lease], reason: str) -> list[Lease]:
        """Record that messages can't be delivered; returns the leases that were lost."""

    async def postpone(
        self, leases: Collection[Lease], reason: str, now: int, pause: int | None
    ) -> list[Lease]:
        """Offer messages again after a pause, None for one that grows; returns the leases that were lost."""


class People(Protocol):
    """Who may get mail."""

    async def people(self, profile_ids: Sequence[str]) -> dict[str, Person]:
        """Profiles by the id asked for; Unavailable where profile does not answer."""
