"""Dead letters: what could not be handled, kept with its origin and its reason.

A letter is the record itself under its own key; further headers tell where it came from and why it
is here. A mark behind it, in the same partition, says that somebody has dealt with it.
"""

import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from libs.errors import Unavailable
from libs.messaging.log import EventLog, Subscription
from libs.messaging.records import Partition, Position, Received, Record
from libs.messaging.topics import Topic

_SETTLED = "tessera.DeadLetterSettled"
_LETTER = "letter"
_ORIGIN = ("topic", "partition", "offset", "reason")
_MOST_REASON = 1000
_AT_ONCE = 1000
_JOIN_SECONDS = 30.0
_WAIT_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that a service could not handle."""

    topic: Topic
    """The topic of dead letters that it is in."""
    record: Received
    settled: bool = False
    """Whether it was replayed, or put aside."""

    @property
    def id(self) -> str:
        """What commands call it: `profile-6-0`, by its place among its service's letters."""
        return f"{self.topic.owner}-{self.record.partition}-{self.record.offset}"

    @property
    def origin(self) -> tuple[str, int, int]:
        """The topic, partition and offset that it was read at."""
        headers = self.record.headers
        return headers["topic"], int(headers["partition"]), int(headers["offset"])

    @property
    def reason(self) -> str:
        """The error that it led to."""
        return self.record.headers["reason"]

    def again(self) -> Record:
        """The record as it was, to be appended once more."""
        headers = {name: value for name, value in self.record.headers.items() if name not in _ORIGIN}
        return Record(self.record.key, self.record.type, self.record.value, self.record.time, headers)

    def mark(self) -> Record:
        """What says that it is settled."""
        headers = {_LETTER: str(self.record.offset)}
        now = time.time_ns() // 1000
        return Record(self.record.key, _SETTLED, b"", now, headers, partition=self.record.partition)


def reason_of(error: Exception) -> str:
    """Why a record became a letter, in a bounded line."""
    return f"{type(error).__name__}: {error}"[:_MOST_REASON].encode(errors="replace").decode()


def letter_of(record: Received, error: Exception) -> Record:
    """The dead letter of a record that led to an error."""
    origin = (record.topic, str(record.partition), str(record.offset), reason_of(error))
    headers = {**record.headers, **dict(zip(_ORIGIN, origin, strict=True))}
    return Record(record.key, record.type, record.value, record.time, headers)


async def read_letters(event_log: EventLog, topic: Topic) -> list[DeadLetter]:
    """All letters that a topic holds now, in the order of their partitions and offsets."""
    # A group of its own, forgotten with the process: everybody who looks sees everything.
    async with event_log.subscribe(f"{topic.name}.reader-{uuid.uuid4().hex}", [topic]) as subscription:
        await _join(subscription, event_log.partitions)
        records = await _read_to_the_end(subscription, topic, event_log.partitions)
    marked = {(r.partition, int(r.headers[_LETTER])) for r in records if r.type == _SETTLED}
    letters = [
        DeadLetter(topic, record, (record.partition, record.offset) in marked)
        for record in records
        if record.headers.keys() >= set(_ORIGIN)
    ]
    return sorted(letters, key=lambda letter: (letter.record.partition, letter.record.offset))


async def settle(event_log: EventLog, letters: Sequence[DeadLetter]) -> None:
    """Note, beside the letters, that they are dealt with."""
    by_topic: dict[Topic, list[Record]] = defaultdict(list)
    for letter in letters:
        by_topic[letter.topic].append(letter.mark())
    for topic, marks in by_topic.items():
        await event_log.publish(topic, marks)


async def _join(subscription: Subscription, partitions: int) -> None:
    patient_until = time.monotonic() + _JOIN_SECONDS
    while len(subscription.assignment.indexes) < partitions:
        if time.monotonic() > patient_until:
            raise Unavailable("the event log gives no partitions to read")
        await subscription.wait(subscription.wakes, _WAIT_SECONDS)


async def _read_to_the_end(subscription: Subscription, topic: Topic, partitions: int) -> list[Received]:
    positions = {Partition(topic.name, index): Position(0) for index in range(partitions)}
    records: list[Received] = []
    open_ = set(positions)
    while open_:
        reading = await subscription.read({p: positions[p] for p in open_}, _AT_ONCE)
        records += reading.records
        positions.update({p: Position(offset) for p, offset in reading.next_offsets.items()})
        # At its end a partition has a time and no records.
        open_ -= reading.through.keys() - reading.next_offsets.keys()
    return records
