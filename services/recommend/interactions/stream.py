"""Reads `tessera.profile.updates`."""

from collections.abc import Callable

import structlog

from libs.database import Connection
from libs.messaging import Batch, Outcome
from services.recommend.interactions import wire
from services.recommend.interactions.ports import Catalog, Histories, People
from services.recommend.interactions.use_cases import apply_updates

log = structlog.get_logger(__name__)


class UpdateHandler:
    """Applies batches of profiles' steps."""

    def __init__(
        self,
        people: Callable[[Connection], People],
        catalog: Callable[[Connection], Catalog],
        histories: Histories,
    ) -> None:
        self._people = people
        self._catalog = catalog
        self._histories = histories

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        updates = [wire.update_of(r.value) for r in batch.records if r.type == wire.UPDATED]
        if updates:
            people, catalog = self._people(connection), self._catalog(connection)
            applied = await apply_updates(people, catalog, self._histories, updates)
            if applied.repeated or applied.rebuilt:
                log.info("updates applied", repeated=applied.repeated, rebuilt=applied.rebuilt)
        return Outcome()

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        return None

    def forget(self) -> None:
        """Nothing is cached."""
