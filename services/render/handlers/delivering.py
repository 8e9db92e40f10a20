"""Hands messages to connectors, each under a lease."""

import time
from collections.abc import Callable, Sequence

from libs.errors import Unavailable
from services.render import domain
from services.render.domain import MICROS
from services.render.ports import Granted, Lease, Neighbours, Queue, Subscriber

_PUT_BACK_MICROS = MICROS


class Deliveries:
    """Messages on their way to connectors."""

    def __init__(self, queue: Queue, neighbours: Neighbours, clock: Callable[[], float] = time.time) -> None:
        self._queue = queue
        self._neighbours = neighbours
        self._clock = clock

    async def next(self, subscriber: Subscriber) -> list[Granted]:
        """Lease what the connector may still hold; what must no longer be sent is withdrawn.

        Nothing is handed out unchecked: while profile does not answer, messages wait.
        """
        await self._queue.expire(self._now())
        granted = await self._queue.lease(subscriber, self._now())
        if not granted:
            return []
        try:
            people = await self._neighbours.people({one.profile_id for one in granted})
        except Unavailable:
            await self._queue.put_back([one.lease for one in granted], self._now() + _PUT_BACK_MICROS)
            return []
        reasons: dict[Lease, str] = {}
        for one in granted:
            reason = domain.withdrawn_because(one.stream, one.address, people.get(one.profile_id))
            if reason is not None:
                reasons[one.lease] = reason
        if reasons:
            await self._queue.withdraw(reasons)
        return [one for one in granted if one.lease not in reasons]

    async def acknowledge(self, leases: Sequence[Lease]) -> list[Lease]:
        """Record deliveries; returns the leases that were lost."""
        return await self._queue.acknowledge(leases)

    async def reject(
        self, leases: Sequence[Lease], reason: str, retry: bool, pause: int | None = None
    ) -> list[Lease]:
        """Offer messages again later, or give up on them; returns the leases that were lost.

        `pause` is in seconds; without it, it grows with each attempt.
        """
        if retry:
            micros = None if pause is None else pause * MICROS
            return await self._queue.postpone(leases, reason, self._now(), micros)
        return await self._queue.reject(leases, reason)

    def _now(self) -> int:
        return int(self._clock() * MICROS)
