"""What the use cases need from outside."""

from collections.abc import Sequence
from typing import Protocol

from services.ingest.tracking.model import Collected


class Events(Protocol):
    """Where accepted events go."""

    async def store(self, collected: Sequence[Collected]) -> None:
        """Return once they are durable."""

    async def store_imports(self, collected: Sequence[Collected]) -> None:
        """The same for old events, which wait for the live ones."""
