"""Reads `tessera.segment.transitions` and writes `tessera.render.messages`."""

from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from libs.database import Connection
from libs.messaging import Batch, Outcome
from libs.messaging.topics import RENDER_MESSAGES
from libs.observability import metrics
from services.render.deciding import wire
from services.render.deciding.model import Withdrawal
from services.render.deciding.ports import Storage
from services.render.deciding.use_cases import Decider
from services.render.delivery.model import Cause, Decision, Message

log = structlog.get_logger(__name__)

GROUP = "render"


class TransitionHandler:
    """Decides batches of transitions. It remembers nothing between them."""

    def __init__(
        self,
        decider: Decider,
        storage_of: Callable[[Connection], Storage],
        encode: Callable[[Message], tuple[str, bytes]],
    ) -> None:
        self._decider = decider
        self._storage_of = storage_of
        self._encode = encode

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        storage = self._storage_of(connection)
        found = [wire.cause_of(r.value, r.headers.get("traceparent", "")) for r in batch.records]
        stored = await self._decider.decide(storage, [one for one in found if isinstance(one, Cause)])
        # After the decisions: what was decided and withdrawn in one batch is withdrawn as well.
        withdrawals = [one for one in found if isinstance(one, Withdrawal)]
        withdrawn = await self._decider.withdraw(storage, withdrawals)
        records = wire.records_of(stored, self._encode)
        return Outcome([(RENDER_MESSAGES, records)], lambda: _tell(stored, withdrawn))

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        return None

    def forget(self) -> None:
        """There is no cache."""


def _tell(stored: Sequence[Decision], withdrawn: int) -> None:
    counts = Counter(decision.outcome.name.lower() for decision in stored)
    for outcome, count in counts.items():
        metrics.MESSAGES.labels(outcome).inc(count)
    if counts:
        log.info("decided", **counts)
    if withdrawn:
        metrics.DELIVERIES.labels("withdrawn").inc(withdrawn)
        log.info("messages withdrawn", messages=withdrawn)
