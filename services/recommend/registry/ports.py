"""What the registry needs from outside."""

from typing import Protocol

from services.recommend.registry.model import ModelInfo


class Models(Protocol):
    """The models that are kept."""

    async def get(self, version: int) -> ModelInfo | None:
        """One by its version."""

    async def page(self, before: int, limit: int) -> list[ModelInfo]:
        """The newest below a version, newest first."""
