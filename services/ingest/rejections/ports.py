"""What the use cases need from outside."""

from collections.abc import Sequence
from typing import Protocol

from services.ingest.rejections.model import KeptRejection, Rejected


class RejectionStore(Protocol):
    """Events that were not accepted."""

    async def keep(self, source_id: str, rejected: Sequence[Rejected], most: int) -> int:
        """Store those of one source, and drop its oldest beyond `most`; returns how many were dropped."""

    async def page(self, before: int, limit: int, source_id: str) -> Sequence[KeptRejection]:
        """The newest below a number, of one source or (empty) of all."""

    async def displaced(self, source_id: str) -> int:
        """How many were ever dropped for newer ones, of one source or (empty) of all."""
