"""Records of profile's stream, as profile writes them."""

from collections.abc import Sequence
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp

from libs.database import Database
from libs.messaging import Batch, Received, Record
from libs.profile_feed import UPDATED
from services.recommend.app import handler_of
from tessera.ingest.v1 import event_pb2, ingest_events_pb2
from tessera.profile.v1 import profile_events_pb2
from tests.unit.recommend.fakes import MemoryHistories

Event = tuple[str, int, dict[str, Any]]
"""An event's name, its time in seconds since 1970, and its properties."""

DAY = 86_400


def step(
    profile_id: str,
    revision: int,
    *events: Event,
    moved: bool = False,
    merged_into: str = "",
    source_kind: event_pb2.SourceKind = event_pb2.SOURCE_KIND_SERVER,
) -> profile_events_pb2.ProfileUpdated:
    """One step of a profile's life."""
    collected = [
        ingest_events_pb2.EventCollected(
            event_id=f"{profile_id[-6:]}{revision:05}{number:05}".encode(),
            source_kind=source_kind,
            type=event_pb2.EVENT_TYPE_TRACK,
            name=name,
            event_time=Timestamp(seconds=at),
            properties_json=orjson.dumps(properties),
        )
        for number, (name, at, properties) in enumerate(events)
    ]
    return profile_events_pb2.ProfileUpdated(
        profile_id=profile_id, revision=revision, moved=moved, merged_into=merged_into, events=collected
    )


async def apply(database: Database, *steps: profile_events_pb2.ProfileUpdated) -> None:
    """Let the tables take steps, as the consumer does."""
    received = [
        Received("profile.updates", 0, number, record.key, record.type, record.value, record.time, {})
        for number, record in enumerate(records(steps))
    ]
    async with database.begin() as connection:
        await handler_of(MemoryHistories(), 1).handle(connection, Batch(received, (0,)))


def records(steps: Sequence[profile_events_pb2.ProfileUpdated]) -> list[Record]:
    """Steps as records to append."""
    return [Record(s.profile_id.encode(), UPDATED, s.SerializeToString(), 1) for s in steps]


def viewed(product_id: str, at: int = DAY, **properties: Any) -> Event:
    """Somebody looked at a product."""
    return "Product Viewed", at, {"product_id": product_id, **properties}


def ordered(order_id: str, *product_ids: str, at: int = DAY) -> Event:
    """Somebody bought products."""
    products = [{"product_id": product_id} for product_id in product_ids]
    return "Order Completed", at, {"order_id": order_id, "products": products}
