"""Tells what was decided, and hands messages to connectors, each under a lease."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from libs.errors import Invalid, Malformed, NotFound, Required, TooLarge, Unavailable
from libs.ids import uuid_text
from services.render.delivery.model import Granted, Lease, Message, Outcome, withdrawn_because
from services.render.delivery.ports import Filter, Messages, People, Queue, Subscriber
from services.render.model import MICROS
from services.render.model.people import Stream

_PUT_BACK_MICROS = MICROS
_MOST_IN_FLIGHT, _IN_FLIGHT = 1000, 100
_MOST_LEASE_SECONDS, _LEASE_SECONDS = 3600, 60
_MOST_LEASES = 1000
_MOST_CONNECTOR = 63
_MOST_REASON = 1000
_MOST_PAUSE = 86_400


class Archive:
    """Decisions, for those who want to know why."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    async def get(self, message_id: str) -> Message:
        """One, with what it says."""
        found = await self._messages.get(uuid_text(message_id, "message_id"))
        if found is None:
            raise NotFound(f"there is no such message: {message_id}", message_id=message_id)
        return found

    async def page(self, wanted: Filter, before: int, limit: int) -> tuple[list[tuple[int, Message]], bool]:
        """The newest below a number, each with its own, and whether there are more; without bodies."""
        return await self._messages.page(_checked(wanted), before, limit)

    async def counts(self, wanted: Filter) -> Mapping[Outcome, int]:
        """How many there are of each outcome."""
        return await self._messages.counts(_checked(wanted))


def _checked(wanted: Filter) -> Filter:
    if wanted.profile_id:
        uuid_text(wanted.profile_id, "profile_id")
    return wanted


def subscriber_of(
    connector: str, max_in_flight: int, lease_seconds: int, stream: Stream | None
) -> Subscriber:
    """A connector's stream, with its defaults; Invalid names the wrong field."""
    if not 1 <= len(connector) <= _MOST_CONNECTOR:
        raise Invalid("connector", f"must have from 1 to {_MOST_CONNECTOR} characters")
    if not 0 <= max_in_flight <= _MOST_IN_FLIGHT:
        raise Invalid("max_in_flight", f"must be from 1 to {_MOST_IN_FLIGHT:,}")
    if not 0 <= lease_seconds <= _MOST_LEASE_SECONDS:
        raise Invalid("lease_duration", f"must be from 1 to {_MOST_LEASE_SECONDS:,} seconds")
    return Subscriber(
        holder=str(uuid.uuid4()),
        max_in_flight=max_in_flight or _IN_FLIGHT,
        lease_seconds=lease_seconds or _LEASE_SECONDS,
        stream=stream,
    )


class Deliveries:
    """Messages on their way to connectors."""

    def __init__(self, queue: Queue, people: People, clock: Callable[[], float] = time.time) -> None:
        self._queue = queue
        self._people = people
        self._clock = clock

    async def next(self, subscriber: Subscriber) -> list[Granted]:
        """Lease what the connector may still hold; what must no longer be sent is withdrawn.

        Nothing is handed out unchecked: while profile does not answer, messages wait.
        """
        await self._queue.expire(self._now())
        granted = await self._queue.lease(subscriber, self._now())
        if not granted:
            return []
        asked = sorted({one.message.profile_id for one in granted if not one.message.test})
        try:
            people = await self._people.people(asked) if asked else {}
        except Unavailable:
            await self._queue.put_back([one.lease for one in granted], self._now() + _PUT_BACK_MICROS)
            return []
        reasons: dict[Lease, str] = {}
        for one in granted:
            reason = withdrawn_because(one, people.get(one.message.profile_id))
            if reason is not None:
                reasons[one.lease] = reason
        if reasons:
            await self._queue.withdraw(reasons)
        return [one for one in granted if one.lease not in reasons]

    async def acknowledge(self, leases: Sequence[Lease]) -> list[Lease]:
        """Record deliveries; returns the leases that were lost."""
        return await self._queue.acknowledge(_checked_leases(leases))

    async def reject(
        self, leases: Sequence[Lease], reason: str, retry: bool, pause: int | None = None
    ) -> list[Lease]:
        """Offer messages again later, or give up on them; returns the leases that were lost.

        `pause` is in seconds; without it, it grows with each attempt.
        """
        leases = _checked_leases(leases)
        kept = reason.replace("\0", "")[:_MOST_REASON]
        if pause is not None and not retry:
            raise Invalid("retry_after", "needs retry")
        if pause is not None and not 0 <= pause <= _MOST_PAUSE:
            raise Invalid("retry_after", f"must be from 0 to {_MOST_PAUSE:,} seconds")
        if not retry:
            return await self._queue.reject(leases, kept)
        micros = None if pause is None else pause * MICROS
        return await self._queue.postpone(leases, kept, self._now(), micros)

    def _now(self) -> int:
        return int(self._clock() * MICROS)


def _checked_leases(leases: Sequence[Lease]) -> list[Lease]:
    if not 1 <= len(leases) <= _MOST_LEASES:
        kind = TooLarge if leases else Required
        raise kind("leases", f"must name from 1 to {_MOST_LEASES:,} leases")
    try:
        return [Lease(str(uuid.UUID(one.message_id)), str(uuid.UUID(one.lease_id))) for one in leases]
    except ValueError:
        raise Malformed("leases", "message_id and lease_id must be UUIDs") from None
