"""Work that the clock starts."""

import asyncio

from libs.database import is_transient
from libs.lifecycle import repeat
from services.recommend.ranking.clients import OnnxRanker


class ModelRefresh:
    """Lets the ranker take up newer models without a restart: a lifecycle component."""

    def __init__(self, ranker: OnnxRanker, seconds: float) -> None:
        self._ranker = ranker
        self._seconds = seconds

    async def run(self, stopping: asyncio.Event) -> None:
        """Look for newer models until asked to stop."""
        await repeat(self._ranker.refresh, stopping, self._seconds, is_transient)
