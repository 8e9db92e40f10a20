"""Reads `tessera.profile.updates`."""

from collections.abc import Callable

import structlog

from libs.database import Connection
from libs.messaging import Batch, Outcome
from services.recommend import convert
from services.recommend.handlers import apply_updates
from services.recommend.ports import Histories, People

log = structlog.get_logger(__name__)


class UpdateHandler:
    """Applies batches of profiles' steps."""

    def __init__(self, people: Callable[[Connection], People], histories: Histories) -> None:
        self._people = people
        self._histories = histories

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        updates = [convert.update_of(r.value) for r in batch.records if r.type == convert.UPDATED]
        if updates:
            applied = await apply_updates(self._people(connection), self._histories, updates)
            if applied.repeated or applied.rebuilt:
                log.info("updates applied", repeated=applied.repeated, rebuilt=applied.rebuilt)
        return Outcome()

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        return None

    def forget(self) -> None:
        """Nothing is cached."""
