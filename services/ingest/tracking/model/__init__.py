"""What makes an event acceptable, and what it becomes: plain Python."""

from services.ingest.tracking.model.events import (
    MOST_BATCH_BYTES,
    MOST_BATCH_EVENTS,
    MOST_EVENT_BYTES,
    Collected,
    EventType,
    accept,
    event_id,
)

__all__ = [
    "MOST_BATCH_BYTES",
    "MOST_BATCH_EVENTS",
    "MOST_EVENT_BYTES",
    "Collected",
    "EventType",
    "accept",
    "event_id",
]
