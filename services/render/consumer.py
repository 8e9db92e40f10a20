"""Reads `tessera.segment.transitions` and writes `tessera.render.messages`."""

from collections import Counter
from collections.abc import Sequence

import structlog

from libs.database import Connection
from libs.messaging import Batch, Outcome
from libs.messaging.topics import RENDER_MESSAGES
from libs.observability import metrics
from services.render import convert
from services.render.domain import Decision
from services.render.handlers import Decider
from services.render.repository import SqlDecisions

log = structlog.get_logger(__name__)

GROUP = "render"


class TransitionHandler:
    """Decides batches of transitions. It remembers nothing between them."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        decisions = SqlDecisions(connection)
        found = (convert.cause_of(r.value, r.headers.get("traceparent", "")) for r in batch.records)
        stored = await self._decider.decide(decisions, [cause for cause in found if cause is not None])
        return Outcome([(RENDER_MESSAGES, decisions.records)], lambda: _tell(stored))

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        return None

    def forget(self) -> None:
        """There is no cache."""


def _tell(stored: Sequence[Decision]) -> None:
    counts = Counter(decision.outcome.name.lower() for decision in stored)
    for outcome, count in counts.items():
        metrics.MESSAGES.labels(outcome).inc(count)
    if counts:
        log.info("decided", **counts)
