"""A group's offsets, kept in the database of the state that they belong to."""

from collections.abc import Iterable, Mapping, Sequence

from libs.database import Connection
from libs.messaging.log import OffsetConflict
from libs.messaging.records import Partition, Position

_LOAD = """
select topic, partition, next_offset, outbox_number from event_log.offsets
where group_name = $1 and topic = any($2::text[]) and partition = any($3::int[])
"""
_CREATE = """
insert into event_log.offsets (group_name, topic, partition)
select $1, topic, partition from unnest($2::text[], $3::int[]) as wanted (topic, partition)
on conflict do nothing
"""
# The compare-and-set is the fence: whoever read the offset before another member moved it fails here.
_ADVANCE = """
update event_log.offsets as o
set next_offset = n.next_offset,
    outbox_number = n.number,
    read_through = greatest(o.read_through, n.through)
from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
  as n (topic, partition, expected, next_offset, number, through)
where o.group_name = $1 and o.topic = n.topic and o.partition = n.partition and o.next_offset = n.expected
"""
_LOST = """
select topic, partition, lost_through from event_log.offsets
where group_name = $1 and topic = any($2::text[]) and partition = any($3::int[])
  and lost_through > next_offset
"""
_LOSE = """
update event_log.offsets set lost_through = greatest(lost_through, $4)
where group_name = $1 and topic = $2 and partition = $3
"""
_READ_THROUGH = """
select min(coalesce(o.read_through, 0)) as through, count(*) as partitions
from event_log.offsets as o where o.group_name = $1 and o.topic = $2
"""
_HANDLED = """
select coalesce(sum(next_offset), 0)::bigint from event_log.offsets where group_name = $1 and topic = $2
"""


async def load(
    connection: Connection, group: str, topics: Sequence[str], indexes: Iterable[int]
) -> dict[Partition, Position]:
    """The positions of some partitions; those that nobody has read begin at 0."""
    wanted = [Partition(topic, index) for topic in topics for index in indexes]
    arrays = [partition.topic for partition in wanted], [partition.index for partition in wanted]
    await connection.execute(_CREATE, group, *arrays)
    rows = await connection.fetch(_LOAD, group, *arrays)
    return {
        Partition(r["topic"], r["partition"]): Position(r["next_offset"], r["outbox_number"]) for r in rows
    }


async def lost(
    connection: Connection, group: str, topics: Sequence[str], indexes: Iterable[int]
) -> dict[Partition, int]:
    """How far records were dropped before the group had read them, for each partition where some were."""
    rows = await connection.fetch(_LOST, group, topics, list(indexes))
    return {Partition(r["topic"], r["partition"]): r["lost_through"] for r in rows}


async def note_lost(connection: Connection, group: str, partition: Partition, through: int) -> None:
    """Note that the log has dropped what the group had not read of a partition."""
    await connection.execute(_LOSE, group, partition.topic, partition.index, through)


async def advance(
    connection: Connection,
    group: str,
    before: Mapping[Partition, Position],
    after: Mapping[Partition, Position],
    through: Mapping[Partition, int],
) -> None:
    """Move offsets inside the transaction that holds their effects; OffsetConflict for a zombie.

    Called with `after` equal to `before` it only moves `through`, and proves that nobody else has
    moved the offsets.
    """
    partitions = sorted(after)
    status = await connection.execute(
        _ADVANCE,
        group,
        [partition.topic for partition in partitions],
        [partition.index for partition in partitions],
        [before[partition].offset for partition in partitions],
        [after[partition].offset for partition in partitions],
        [after[partition].number for partition in partitions],
        [through.get(partition, 0) for partition in partitions],
    )
    if status != f"UPDATE {len(partitions)}":
        raise OffsetConflict(f"{group}: another member has advanced one of {partitions}")


async def handled(connection: Connection, group: str, topic: str) -> int:
    """How many records of a topic a group has handled: it stands still while nothing comes."""
    return int(await connection.fetchval(_HANDLED, group, topic))


async def read_through(connection: Connection, group: str, topic: str, partitions: int) -> int | None:
    """Microseconds since 1970 up to which a group has applied a whole topic; None before it began."""
    row = await connection.fetchrow(_READ_THROUGH, group, topic)
    if row is None or row["partitions"] < partitions or not row["through"]:
        return None
    return int(row["through"])
