"""Withdraws consent on the way that every event takes."""

from typing import Final

import orjson
import structlog

from libs.tracking.calls import Call
from libs.unsubscribe import Unsubscription
from services.ingest.sources.model import Source
from services.ingest.tracking.model import EventType
from services.ingest.tracking.use_cases import Collector, Item

log = structlog.get_logger(__name__)

SOURCE: Final = Source("unsubscribe-page", trusted=True)
"""Built in: it has no key, so that nobody else can send as it."""


class Unsubscriber:
    """Collects what somebody says by a link of his mail."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def unsubscribe(self, unsubscription: Unsubscription) -> None:
        """Return once it is durable."""
        call = _call(unsubscription)
        size = len(call.properties)
        result = await self._collector.collect(SOURCE, [Item(call, size, lambda: call.properties)])
        for rejection in result.rejections:
            raise ValueError(f"our own event was refused: {rejection.error.message}")
        log.info("unsubscribed", campaign=unsubscription.campaign_id)


def _call(unsubscription: Unsubscription) -> Call:
    """Without a message id it gets a new one each time: who subscribes again may also leave again.

    It names the profile that got the mail, not an address: that may be two people's, and then nobody's.
    """
    properties = {"message_id": unsubscription.message_id, "campaign_id": unsubscription.campaign_id}
    return Call(
        type=EventType.TRACK.value,
        name="Unsubscribed",
        profile_id=unsubscription.profile_id,
        properties=orjson.dumps(properties),
    )
