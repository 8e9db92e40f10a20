"""What the use cases need from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.ingest.domain import Collected, Source


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that was not accepted, as it is kept."""

    source_id: str
    received: int
    """Microseconds since 1970."""
    field: str
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True)
class KeptRejection:
    """A rejected event and its number."""

    rejection_id: int
    rejected: Rejected


class Sources(Protocol):
    """Where events may come from."""

    async def by_key(self, write_key: str) -> Source | None:
        """The source that a write key belongs to."""

    async def by_id(self, source_id: str) -> Source | None:
        """A source by its id."""

    async def create(self, source: Source) -> Source | None:
        """Store a source, or return the stored one with this id; None where another has its key."""

    async def all(self) -> list[Source]:
        """All sources, by id."""


class Rejections(Protocol):
    """Events that were not accepted."""

    async def keep(self, rejected: Sequence[Rejected]) -> None:
        """Store them."""

    async def page(self, before: int, limit: int, source_id: str) -> list[KeptRejection]:
        """The newest below a number, of one source or (empty) of all."""


class Events(Protocol):
    """Where accepted events go."""

    async def store(self, collected: Sequence[Collected]) -> None:
        """Return once they are durable."""

    async def store_imports(self, collected: Sequence[Collected]) -> None:
        """The same for old events, which wait for the live ones."""
