"""The port that services write to and read from: over PostgreSQL or over Kafka."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from libs.database import Connection
from libs.errors import Misconfigured
from libs.messaging.records import Partition, Position, Reading, Record
from libs.messaging.topics import Topic


class OffsetConflict(Exception):
    """Another member has advanced the offset: this one no longer owns the partition."""


class LogGap(Exception):
    """A relayed record's number skips some: records are missing between it and the one before."""


class TopicMissing(Misconfigured):
    """A topic that is to be read does not exist: its owner has not been started here."""


class TopicDiffers(Misconfigured):
    """A topic exists with another number of partitions."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The partition indexes that this member reads, of every topic of its group."""

    generation: int
    indexes: tuple[int, ...]


class Subscription(Protocol):
    """A member of a group."""

    @property
    def assignment(self) -> Assignment:
        """What this member owns now. Only the offset's compare-and-set keeps a former owner out."""

    async def read(self, positions: Mapping[Partition, Position], limit: int) -> Reading:
        """Read on from `positions`, about `limit` records at the most.

        At its end a partition has no records and a time in `through`.
        """

    async def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """The offsets that the partitions' next records will get, as far as they are known: for lag."""

    @property
    def wakes(self) -> int:
        """Counts the news; take it before a read to miss none in `wait`."""

    async def wait(self, seen: int, seconds: float) -> None:
        """Return when there has been news since `wakes` was `seen`, or the time is over."""

    async def commit_hint(self, next_offsets: Mapping[Partition, int]) -> None:
        """Tell lag tools how far the group is. Nothing is read from it."""


class EventLog(Protocol):
    """Where records go, in order for each partition."""

    partitions: int

    async def declare(self, topics: Sequence[Topic]) -> None:
        """Create the topics that a service owns; TopicDiffers where they exist differently."""

    async def append(self, connection: Connection, topic: Topic, records: Sequence[Record]) -> None:
        """Append in the caller's transaction, as its last step: seen when it commits, or never."""

    async def publish(self, topic: Topic, records: Sequence[Record]) -> None:
        """Append without a transaction of the caller's; returns when the records are durable."""

    def subscribe(self, group: str, topics: Sequence[Topic]) -> AbstractAsyncContextManager[Subscription]:
        """Join a group that shares the partitions of some topics; TopicMissing or TopicDiffers."""

    async def check(self) -> None:
        """Raise unless the log answers."""
