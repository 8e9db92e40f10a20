"""What the use cases need from outside."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.ingest.sources.model import Key, Source, SourceVersion


class SourceChange(Protocol):
    """A transaction that changes sources; it is taken back where its block raises."""

    async def lock(self, source_id: str) -> Source | None:
        """A source, which nobody else changes until the end."""

    async def insert(self, source: Source) -> bool:
        """Add a source without its keys; False where there is one of this id."""

    async def update(self, source: Source) -> None:
        """Store settings and version, and the version among those that were."""

    async def delete(self, source_id: str) -> None:
        """Remove a source with its keys and versions."""

    async def add_key(self, source_id: str, key: Key) -> bool:
        """Add a key; False where some source has it."""

    async def remove_key(self, source_id: str, key_id: str) -> None:
        """Remove a key."""


class Sources(Protocol):
    """Sources as they are stored."""

    async def get(self, source_id: str) -> Source | None:
        """A source by its id."""

    async def page(self, after: str, limit: int) -> Sequence[Source]:
        """Sources behind an id, by id."""

    async def versions(self, source_id: str, before: int, limit: int) -> Sequence[SourceVersion]:
        """What a source's settings were, newest first."""

    def change(self) -> AbstractAsyncContextManager[SourceChange]:
        """Begin a change."""


class KnownSources(Protocol):
    """Sources as the front door knows them: those of a few seconds ago, and every new key."""

    async def by_key(self, write_keys: Sequence[str]) -> Source | None:
        """The source that the first of these keys belongs to that is anybody's."""

    async def by_id(self, source_id: str) -> Source | None:
        """A source by its id."""
