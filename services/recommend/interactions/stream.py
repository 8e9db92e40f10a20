"""Reads `tessera.profile.updates`."""

from collections.abc import Callable, Iterable
from functools import partial

import structlog

from libs.database import Connection
from libs.messaging import Batch, Outcome
from libs.profile_feed import feed_of, step_of
from services.recommend.interactions import wire
from services.recommend.interactions.model import Update
from services.recommend.interactions.use_cases import Followed, Follower

log = structlog.get_logger(__name__)


class UpdateHandler:
    """Follows the profiles of some partitions."""

    def __init__(self, follower: Callable[[Connection], Follower]) -> None:
        self.follower = follower
        """Who follows, inside a connection's open transaction."""

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        steps = feed_of(batch.records).steps
        if steps:
            updates = {profile_id: _readers(bodies) for profile_id, bodies in steps.items()}
            _tell(await self.follower(connection).follow(updates))
        return Outcome()

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        """Read on for some of those who were set aside, or whose histories are long."""
        followed = await self.follower(connection).catch_up(indexes)
        if followed is None:
            return None
        _tell(followed)
        return Outcome()

    def forget(self) -> None:
        """Nothing is cached."""


def _readers(bodies: Iterable[bytes]) -> list[Callable[[], Update]]:
    return [partial(_read, body) for body in bodies]


def _read(body: bytes) -> Update:
    return wire.update_of(step_of(body))


def _tell(followed: Followed) -> None:
    if followed.read_on:
        log.info("histories read", profiles=followed.read_on)
