"""Dead letters are read, appended again and settled, over both logs."""

from libs.database import Connection, Database
from libs.messaging import Batch, EventLog, Outcome, Record
from libs.messaging.dead_letters import DeadLetter, read_letters, settle
from tests.integration.messaging.harness import (
    EVENTS,
    LETTERS,
    POISON,
    Deployment,
    Effects,
    consumer,
    numbered,
    running,
    until,
    until_counted,
)


class Cured(Effects):
    """A version that can handle what the one before could not."""

    async def handle(self, connection: Connection, batch: Batch) -> Outcome:
        for record in batch.records:
            await connection.execute(
                "insert into effects (stage, topic, partition, key, value) values ($1, $2, $3, $4, $5)",
                self.stage,
                record.topic,
                record.partition,
                record.key.decode(),
                f"{record.type} {record.time} {record.headers}",
            )
        return Outcome()


async def _letters(database: Database, log: EventLog, deployment: Deployment, count: int) -> list[DeadLetter]:
    """The letters that are open, once there are so many."""
    found: list[DeadLetter] = []

    async def enough() -> bool:
        found[:] = [letter for letter in await read_letters(log, LETTERS) if not letter.settled]
        return len(found) == count

    async with running(*deployment.relay(database)):
        await until(enough, 60, f"{count} letters")
    return found


async def test_letters_tell_where_they_come_from_and_why(deployment: Deployment) -> None:
    async with deployment.open() as (database, log):
        assert [] == await read_letters(log, LETTERS)
        await log.publish(EVENTS, [*numbered("w", 0, 20), Record(b"bad", "test.Bad", POISON, 5)])
        async with running(consumer(database, log, lambda: Effects("first"))):
            await until_counted(database, "first", 20)
            (letter,) = await _letters(database, log, deployment, 1)
        offset = await database.pool.fetchval(
            "select next_offset - 1 from event_log.offsets where topic = $1 and partition = $2",
            EVENTS.name,
            letter.record.partition,
        )

        assert ("test.events", letter.record.partition, offset) == letter.origin
        assert "ValueError: poisoned" == letter.reason
        assert f"test-{letter.record.partition}-0" == letter.id


async def test_a_letter_that_is_appended_again_is_handled_as_it_was(deployment: Deployment) -> None:
    poisoned = Record(b"bad", "test.Bad", POISON, 5, {"traceparent": "00-1"})
    async with deployment.open() as (database, log):
        await log.publish(EVENTS, [poisoned])
        async with running(consumer(database, log, lambda: Effects("first"))):
            (letter,) = await _letters(database, log, deployment, 1)
        await log.publish(EVENTS, [letter.again()])
        async with running(consumer(database, log, lambda: Cured("cured"))):
            await until_counted(database, "cured", 1)
        row = await database.pool.fetchrow("select partition, key, value from effects where stage = 'cured'")

        assert poisoned == letter.again()
        assert row is not None
        assert (letter.record.partition, "bad") == (row["partition"], row["key"])
        assert "test.Bad 5 {'traceparent': '00-1'}" == row["value"]


async def test_a_letter_that_is_settled_is_told_from_the_others(deployment: Deployment) -> None:
    async with deployment.open() as (database, log):
        await log.publish(EVENTS, [Record(b"bad", "test.Bad", POISON, n) for n in range(3)])
        async with running(consumer(database, log, lambda: Effects("first"))):
            first, second, third = await _letters(database, log, deployment, 3)
        await settle(log, [first, third])
        everything = await read_letters(log, LETTERS)

        assert [(first.id, True), (second.id, False), (third.id, True)] == [
            (letter.id, letter.settled) for letter in everything
        ]


async def test_what_is_no_letter_is_left_out(deployment: Deployment) -> None:
    async with deployment.open() as (_, log):
        await log.publish(LETTERS, [Record(b"k", "test.Other", b"v", 1)])

        assert [] == await read_letters(log, LETTERS)
