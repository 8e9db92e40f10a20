"""Where a worker stands in the partitions that it owns, and what of a reading is new to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from libs.messaging.log import LogGap
from libs.messaging.records import Partition, Position, Reading, Received


@dataclass(slots=True)
class Progress:
    """The partitions of one assignment, their positions, and which of them have stopped."""

    generation: int = -1
    indexes: tuple[int, ...] = ()
    positions: dict[Partition, Position] = field(default_factory=dict)
    stopped: set[Partition] = field(default_factory=set)
    """They wait for a person, and are read no further."""
    through: dict[Partition, int] = field(default_factory=dict)
    """What readings without records have told of the log's end, and is not stored yet."""

    def open_of(
        self, topics: frozenset[str], positions: Mapping[Partition, Position]
    ) -> dict[Partition, Position]:
        """The positions in some topics' partitions that have not stopped."""
        return {
            p: position for p, position in positions.items() if p.topic in topics and p not in self.stopped
        }

    def after(self, reading: Reading) -> dict[Partition, Position]:
        """The positions once a reading is handled."""
        ends: dict[tuple[str, int], int] = {}
        numbers: dict[tuple[str, int], int] = {}
        for record in reading.records:
            key = (record.topic, record.partition)
            ends[key] = record.offset + 1
            if record.number is not None and record.number > numbers.get(key, -1):
                numbers[key] = record.number
        positions = dict(self.positions)
        for key, offset in ends.items():
            partition = Partition(*key)
            number = max(positions[partition].number, numbers.get(key, -1))
            positions[partition] = Position(offset, number)
        for partition, offset in reading.next_offsets.items():
            positions[partition] = Position(offset, positions[partition].number)
        return positions

    def unseen(self, records: Sequence[Received]) -> list[Received]:
        """Leave out what a relay shipped twice; LogGap where it left something out.

        A group that has handled no numbered record yet may begin anywhere: retention may have
        dropped the first ones.
        """
        numbers = {(p.topic, p.index): position.number for p, position in self.positions.items()}
        unseen = []
        for record in records:
            if record.number is not None:
                key = (record.topic, record.partition)
                last = numbers[key]
                if record.number <= last:
                    continue
                if record.number != last + 1 and last >= 0:
                    raise LogGap(f"{record.topic} {record.partition}: number {record.number} follows {last}")
                numbers[key] = record.number
            unseen.append(record)
        return unseen
