"""What the use cases need from outside."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.render.domain import Advice, Campaign, Decision, Outcome, Person, Stream, Template


class Engine(Protocol):
    """Fills templates; a template that does not finish is ended."""

    async def check(self, sources: Mapping[str, str]) -> None:
        """Raise Unrenderable where a part can't be parsed."""

    async def render(self, sources: Mapping[str, str], context: bytes) -> Mapping[str, str]:
        """Fill all parts with a JSON object; Unrenderable tells the part, the line and the reason."""


class Templates(Protocol):
    """Stored templates."""

    async def put(self, template: Template) -> Template:
        """Store a new version, unless the newest says the same; returns what is stored."""

    async def get(self, template_id: str, version: int = 0) -> Template | None:
        """One version, or the newest."""

    async def all(self) -> list[Template]:
        """The newest versions, by id."""


class Campaigns(Protocol):
    """Stored campaigns."""

    async def put(self, campaign: Campaign) -> None:
        """Create or replace it."""

    async def all(self) -> list[Campaign]:
        """All, by id."""


class Neighbours(Protocol):
    """The other services."""

    async def people(self, profile_ids: Collection[str]) -> dict[str, Person]:
        """Profiles by the id asked for; Unavailable where profile does not answer."""

    async def segments(self, profile_ids: Collection[str]) -> dict[str, list[str]]:
        """The segments that people are in; Unavailable where segment does not answer."""

    async def advice(self, profile_ids: Collection[str], limit: int) -> dict[str, Advice]:
        """Recommendations by profile id; Unavailable where recommend does not answer soon."""


class Decisions(Protocol):
    """The decisions of one batch, inside its transaction."""

    async def campaigns(self) -> list[Campaign]:
        """All campaigns."""

    async def template(self, template_id: str) -> Template | None:
        """The newest version."""

    async def decided(self, message_ids: Collection[str]) -> set[str]:
        """Which of these have been decided before."""

    async def store(self, decisions: Sequence[Decision]) -> list[Decision]:
        """Store those that nobody has decided before, and put their messages on the log; returns them."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the delivery of a message stands, with the message as it was stored."""

    message_id: str
    body: bytes
    state: int
    reason: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are wanted: empty, None and 0 for all."""

    profile_id: str = ""
    campaign_id: str = ""
    outcome: Outcome | None = None
    delivery_state: int = 0


class Messages(Protocol):
    """Stored decisions."""

    async def page(self, wanted: Filter, before: int, limit: int) -> tuple[list[tuple[int, Delivery]], bool]:
        """The newest below a number, each with its own, and whether there are more."""

    async def totals(self, wanted: Filter) -> dict[Outcome, int]:
        """How many there are of each outcome, whichever outcome is wanted."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A connector's stream."""

    holder: str
    """Names the stream among all that ever were."""
    max_in_flight: int
    lease_seconds: int
    stream: Stream | None


@dataclass(frozen=True, slots=True)
class Lease:
    """A message and what it is held under."""

    message_id: str
    lease_id: str


@dataclass(frozen=True, slots=True)
class Granted:
    """A message under a lease."""

    lease: Lease
    end_time: int
    """Microseconds since 1970."""
    attempt: int
    profile_id: str
    address: str
    stream: Stream
    body: bytes


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
