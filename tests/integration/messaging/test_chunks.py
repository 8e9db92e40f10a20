"""Records are packed into chunks of any size and come back from any position."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.messaging import EventLog, Partition, Position, Record, Subscription
from libs.messaging.chunks import _rounds
from tests.integration.messaging.harness import EVENTS, Deployment

_headers = st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2)
_records = st.builds(
    Record,
    key=st.binary(max_size=8),
    type=st.text(max_size=8),
    value=st.binary(max_size=40),
    time=st.integers(0, 2**53),
    headers=_headers,
    partition=st.none() | st.integers(0, 2),
    ephemeral=st.booleans(),
)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 700_000)), max_size=40))
def test_rounds_hold_every_record_once_and_in_order_in_chunks_of_bounded_size(
    sizes: list[tuple[int, int]],
) -> None:
    records = [Record(b"", str(n), b"x" * size, 0, partition=index) for n, (index, size) in enumerate(sizes)]
    rounds = list(_rounds(records, 4))

    for index in range(4):
        packed = [record for chunk_of in rounds for record in chunk_of.get(index, ())]
        assert [record for record in records if record.partition == index] == packed
    for chunk_of in rounds:
        for chunk in chunk_of.values():
            assert chunk
            assert len(chunk) == 1 or sum(len(record.value) for record in chunk) <= 1 << 20


@given(st.integers(0, 3500))
@settings(max_examples=20)
def test_a_chunk_holds_a_thousand_records_at_most(count: int) -> None:
    rounds = list(_rounds([Record(b"", "t", b"", 0, partition=0)] * count, 1))

    assert [len(chunk_of[0]) for chunk_of in rounds[:-1]] == [1000] * (len(rounds) - 1)
    assert count == sum(len(chunk_of[0]) for chunk_of in rounds)


async def _read_from(subscription: Subscription, position: Position, limit: int) -> list[tuple[object, ...]]:
    partition = Partition(EVENTS.name, 1)
    found: list[tuple[object, ...]] = []
    while True:
        reading = await subscription.read({partition: position}, limit)
        if not reading.records:
            assert partition in reading.through
            return found
        found += [(r.offset, r.key, r.type, r.value, r.time, r.headers) for r in reading.records]
        position = Position(reading.next_offsets[partition])
        assert position.offset == reading.records[-1].offset + 1


async def test_whatever_is_appended_is_read_back_from_any_position(on_postgres: Deployment) -> None:
    written: list[Record] = []

    async def append(log: EventLog, batches: list[list[Record]]) -> None:
        for batch in batches:
            await log.publish(EVENTS, batch)
            written.extend(r for r in batch if r.partition == 1)

    loop = asyncio.get_running_loop()
    async with on_postgres.open() as (_, log), log.subscribe("group", [EVENTS]) as subscription:
        # However little is drawn, there is something to read, and more than one reading of it.
        await append(log, [[Record(b"", str(n), b"x", n, partition=1)] for n in range(50)])

        @given(st.lists(st.lists(_records, max_size=12), max_size=4), st.floats(0, 1), st.integers(1, 9))
        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        def round_trip(batches: list[list[Record]], start: float, limit: int) -> None:
            # Keys decide nothing here: what goes elsewhere is not read.
            placed = [[r for r in batch if r.partition is not None] for batch in batches]
            asyncio.run_coroutine_threadsafe(append(log, placed), loop).result(30)
            position = int(start * len(written))
            reading = _read_from(subscription, Position(position), limit)
            found = asyncio.run_coroutine_threadsafe(reading, loop).result(30)

            expected = [(n, r.key, r.type, r.value, r.time, r.headers or {}) for n, r in enumerate(written)][
                position:
            ]
            assert expected == found

        await asyncio.to_thread(round_trip)
    assert len(written) > 50, "there was something to read"


async def test_offsets_are_dense_and_in_commit_order_under_many_writers(on_postgres: Deployment) -> None:
    async with on_postgres.open() as (database, log):

        async def write(writer: int) -> None:
            for number in range(5):
                async with database.begin() as connection:
                    value = b"%d %d" % (writer, number)
                    records = [Record(b"", "t", value, 0, partition=index) for index in range(4)]
                    await log.append(connection, EVENTS, records)
                    if number == 4:
                        # Rolled back after it took its offsets: that must leave no hole.
                        raise ZeroDivisionError

        results = await asyncio.gather(*(write(n) for n in range(24)), return_exceptions=True)
        assert all(isinstance(result, ZeroDivisionError) for result in results)
        async with log.subscribe("group", [EVENTS]) as subscription:
            for index in range(4):
                reading = await subscription.read({Partition(EVENTS.name, index): Position(0)}, 1000)

                assert list(range(24 * 4)) == [record.offset for record in reading.records]
