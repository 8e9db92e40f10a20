"""The event log: its port, PostgreSQL and Kafka behind it, and the loop that consumes it."""

from libs.messaging.consumer import Consumer
from libs.messaging.handling import Batch, ConsumerSettings, Handler, Outcome
from libs.messaging.log import (
    Assignment,
    EventLog,
    LogGap,
    OffsetConflict,
    Subscription,
    TopicDiffers,
    TopicMissing,
)
from libs.messaging.postgres import PostgresLog
from libs.messaging.records import SLOTS, Partition, Position, Reading, Received, Record, slot_of
from libs.messaging.topics import Topic

__all__ = [
    "SLOTS",
    "Assignment",
    "Batch",
    "Consumer",
    "ConsumerSettings",
    "EventLog",
    "Handler",
    "LogGap",
    "OffsetConflict",
    "Outcome",
    "Partition",
    "Position",
    "PostgresLog",
    "Reading",
    "Received",
    "Record",
    "Subscription",
    "Topic",
    "TopicDiffers",
    "TopicMissing",
    "slot_of",
]
