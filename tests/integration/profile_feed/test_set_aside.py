"""People who are set aside: listed, tried again later and later, and at once where somebody asks."""

import uuid

from libs.database import open_database
from libs.profile_feed import SetAside

ADA, BOB = (str(uuid.UUID(int=number)) for number in (1, 2))
NOBODY = str(uuid.UUID(int=0))
ALL = range(4)


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_who_is_set_aside_is_tried_again_later_and_later(database_url: str) -> None:
    clock = Clock()
    aside = SetAside("things", 4, clock)
    waits: list[float] = []
    async with open_database(database_url, "test") as database, database.begin() as connection:
        await connection.execute("create schema things")
        await connection.execute(SetAside.ddl("things"))
        for _ in range(12):
            await aside.put(connection, {ADA: "dirt\0"})
            (found,) = await aside.page(connection, NOBODY, 10)
            waits.append(found.retry_at / 1e6 - clock.now)
            assert [] == await aside.due(connection, ALL, 10)
            clock.now = found.retry_at / 1e6
            assert [ADA] == await aside.due(connection, ALL, 10)

    assert (ADA, "dirt�", 12) == (found.profile_id, found.reason, found.attempts)
    assert [60, 120, 240] == waits[:3]
    assert sorted(waits) == waits
    assert 6 * 3600 == waits[-1]


async def test_who_is_asked_for_is_due_at_once_and_settled_when_rebuilt(database_url: str) -> None:
    aside = SetAside("things", 4, Clock())
    async with open_database(database_url, "test") as database, database.begin() as connection:
        await connection.execute("create schema things")
        await connection.execute(SetAside.ddl("things"))
        await aside.put(connection, {ADA: "dirt"})
        await aside.ask(connection, [ADA, BOB])
        due = await aside.due(connection, ALL, 10)
        among = await aside.among(connection, [ADA, NOBODY])
        await aside.settle(connection, due)
        left = await aside.page(connection, NOBODY, 10)

    assert ({ADA, BOB}, {ADA}, []) == (set(due), among, left)
