"""What a service does with the records that it reads: the port between the consumer loop and its handlers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from libs.database import Connection
from libs.messaging.records import Received, Record
from libs.messaging.topics import Topic


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of the partitions that one worker owns, in order within each."""

    records: Sequence[Received]
    indexes: tuple[int, ...]
    """All partition indexes that the worker owns."""


def _nothing() -> None:
    """What happens after the commit where there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handled batch leaves to do."""

    output: Sequence[tuple[Topic, Sequence[Record]]] = ()
    """Appended as the transaction's last step, in this order of topics."""
    after_commit: Callable[[], None] = _nothing
    """Lets caches take what is now true."""


class Handler(Protocol):
    """What a service does with batches. One worker, one handler, one batch at a time."""

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        """Write the batch's effects on the connection's open transaction."""

    async def maintain(self, connection: Connection, indexes: tuple[int, ...]) -> Outcome | None:
        """Do other work of the partitions' owner between batches; None when there is none.

        Called in an open transaction that commits only while the partitions are still owned.
        """

    def forget(self) -> None:
        """Drop every cache: a transaction was rolled back, or other partitions were assigned."""


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """How a consumer works."""

    group: str
    topics: tuple[Topic, ...]
    """Read first, all alike; their reading moves the clock."""
    dead_letters: Topic
    background: tuple[Topic, ...] = ()
    """Read only while nothing waits in `topics`."""
    workers: int = 2
    batch_records: int = 4000
    tick_seconds: float = 0.2
    """How often a worker at the log's end notes that it is there, and maintains."""
    burst: int = 10
    """So many dead letters of a partition within `burst_seconds` stop it."""
    burst_seconds: float = 60.0
    owners_seconds: float = 60.0
    """How long the owners of the topics may take to create them."""
