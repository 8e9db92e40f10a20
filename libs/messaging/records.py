"""What goes onto the log and what comes off it, and which partition a key belongs to."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

SLOTS = 4096
"""Keys are hashed to so many slots; a partition count divides it, so a slot has one owner."""
MOST_BYTES = 2 << 20
"""The most that a record's key and value may hold together, in either log."""


def slot_of(key: bytes) -> int:
    """The slot of a key, from 0 to 4,095: the same in every process, for ever."""
    return zlib.crc32(key) % SLOTS


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record to append: a CloudEvent with a protobuf body."""

    key: bytes
    type: str
    """The CloudEvents type, such as `tessera.profile.v1.ProfileUpdated`."""
    value: bytes
    time: int
    """Microseconds since 1970: when its writer took it up."""
    headers: dict[str, str] | None = None
    """Further attributes, such as `traceparent`."""
    partition: int | None = None
    """Where it must go; the key decides when None."""
    ephemeral: bool = False
    """Worthless once every group has read it: dropped then, whatever the topic's retention."""


def partition_of(record: Record, partitions: int) -> int:
    """Where a record goes. ValueError for one that is too large for Kafka, whatever the log.

    An outbox must not take what its relay can never ship.
    """
    size = len(record.key) + len(record.value)
    if size > MOST_BYTES:
        raise ValueError(f"a record of type {record.type} has {size} bytes; {MOST_BYTES} is the limit")
    return slot_of(record.key) % partitions if record.partition is None else record.partition


class Received(msgspec.Struct, frozen=True, gc=False):
    """A record that was read."""

    topic: str
    partition: int
    offset: int
    key: bytes
    type: str
    value: bytes
    time: int
    headers: dict[str, str]
    number: int | None = None
    """Its number in the writer's outbox, where it came by a relay."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of one topic."""

    topic: str
    index: int


@dataclass(frozen=True, slots=True)
class Position:
    """How far a group has read a partition."""

    offset: int
    """The next record to read."""
    number: int = -1
    """The outbox number of the last record that was handled; -1 before the first."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one read found."""

    records: list[Received]
    """In offset order within each partition."""
    next_offsets: Mapping[Partition, int]
    """Where to go on, for each partition that moved."""
    through: Mapping[Partition, int] = field(default_factory=dict)
    """Microseconds since 1970, up to which everything acknowledged is in here or was read before:
    at the log's end the time just before the read, else the last record's."""
    gaps: Mapping[Partition, int] = field(default_factory=dict)
    """The offset that the log goes on at, where it no longer has what comes next: dropped unread."""
