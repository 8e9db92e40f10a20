"""Tells of the trained models."""

from libs.errors import Invalid, NotFound
from services.recommend.registry.model import ModelInfo
from services.recommend.registry.ports import Models


class Registry:
    """The models that are kept."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def get(self, version: int) -> ModelInfo:
        """One model; NotFound also where it is no longer kept."""
        if version < 1:
            raise Invalid("version", "must be at least 1")
        model = await self._models.get(version)
        if model is None:
            raise NotFound(f"there is no model {version}", version=version)
        return model

    async def page(self, before: int, limit: int) -> list[ModelInfo]:
        """The newest below a version, newest first."""
        return await self._models.page(before, limit)
