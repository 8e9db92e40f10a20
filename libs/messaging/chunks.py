"""Appends and reads the log's tables: records packed into one row a transaction and partition.

A packed row costs PostgreSQL a fraction of a row for each record, and the counter of a partition is
locked as the transaction's last step, so offset order is commit order, without gaps.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from libs.database import Connection
from libs.messaging.records import Received, Record, partition_of

CHANNEL = "event_log"
_MOST_RECORDS = 1000
_MOST_BYTES = 1 << 20

_encode = msgspec.msgpack.Encoder().encode
Packed = list[tuple[bytes, str, bytes, int, dict[str, str] | None]]
"""A chunk's records: key, type, value, time, headers."""
decode = msgspec.msgpack.Decoder(Packed).decode

# Counters are locked in the order of the partitions, or two writers could wait for each other.
_APPEND = """
with wanted as (
  select * from unnest($2::int[], $3::int[], $4::boolean[], $5::bytea[])
    as w (partition, records, ephemeral, payload)
), locked as (
  select partition from event_log.partitions
  where topic_id = $1 and partition = any($2::int[]) order by partition for no key update
), moved as (
  update event_log.partitions as p set next_offset = p.next_offset + w.records
  from wanted as w join locked as l using (partition)
  where p.topic_id = $1 and p.partition = w.partition
  returning p.partition, p.next_offset
), stored as (
  insert into event_log.chunks (topic_id, partition, next_offset, records, ephemeral, payload)
  select $1, m.partition, m.next_offset, w.records, w.ephemeral, w.payload
  from moved as m join wanted as w using (partition)
)
select pg_notify('event_log', $6)
"""


def after(position: str, share: str) -> str:
    """The SQL that joins to each partition `p` its chunks `c` after a position.

    Whole chunks, in order, until those before hold `share` records. The planner does not see behind the
    inner select: where it knew the share, it planned each reading anew.
    """
    most = f"(select {share}::bigint)"
    return f"""
cross join lateral (
  select next_offset, records, payload from (
    select next_offset, records, payload, sum(records) over (order by next_offset) - records as earlier
    from (
      select next_offset, records, payload from event_log.chunks
      where topic_id = p.topic_id and partition = p.partition and next_offset > {position}
      order by next_offset limit {most}
    ) as candidates
  ) as counted where earlier < {most}
) as c
order by p.topic_id, p.partition, c.next_offset
"""  # noqa: S608 - of constants


def _rounds(records: Sequence[Record], partitions: int) -> Iterator[dict[int, list[Record]]]:
    """Split records into rounds that hold at most one chunk of bounded size for each partition."""
    chunks: dict[int, list[list[Record]]] = defaultdict(list)
    sizes: dict[int, int] = {}
    for record in records:
        index = partition_of(record, partitions)
        own = chunks[index]
        size = len(record.value) + len(record.key)
        if not own or len(own[-1]) >= _MOST_RECORDS or sizes[index] + size > _MOST_BYTES:
            own.append([])
            sizes[index] = 0
        own[-1].append(record)
        sizes[index] += size
    for number in range(max((len(own) for own in chunks.values()), default=0)):
        yield {index: own[number] for index, own in chunks.items() if number < len(own)}


async def append(
    connection: Connection, topic_id: int, wake: str, records: Sequence[Record], partitions: int
) -> None:
    """Append records and tell the listeners of `wake` at the commit."""
    for chunk_of in _rounds(records, partitions):
        indexes = sorted(chunk_of)
        payloads = [
            _encode([(r.key, r.type, r.value, r.time, r.headers) for r in chunk_of[index]])
            for index in indexes
        ]
        await connection.execute(
            _APPEND,
            topic_id,
            indexes,
            [len(chunk_of[index]) for index in indexes],
            [all(r.ephemeral for r in chunk_of[index]) for index in indexes],
            payloads,
            wake,
        )


def unpack(topic: str, partition: int, next_offset: int, payload: bytes, start: int) -> list[Received]:
    """The records of one chunk from offset `start` on."""
    packed = decode(payload)
    first = next_offset - len(packed)
    skip = max(0, start - first)
    # By position: names cost a third more.
    return [
        Received(topic, partition, offset, key, type_, value, time, headers or {})
        for offset, (key, type_, value, time, headers) in enumerate(packed[skip:], first + skip)
    ]
