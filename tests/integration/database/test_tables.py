"""Rows whose time is over go, in portions; all others stay."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.database import Database, open_database
from libs.database.tables import Age, Kept, Lasting, Nobodys, Sweep, Unit

DAY = 86_400
NOW = 20_000.5 * DAY


@pytest.fixture
async def database(database_url: str):  # type: ignore[no-untyped-def]
    async with open_database(database_url, "test") as database:
        await database.pool.execute("create table plain (at bigint, open boolean)")
        await database.pool.execute("create table parted (at bigint, open boolean) partition by hash (at)")
        for number in range(3):
            await database.pool.execute(
                f"create table parted_{number} partition of parted "
                f"for values with (modulus 3, remainder {number})"
            )
        yield database


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["plain", "parted"]),
    st.sampled_from([("microseconds", 1e-6), ("days", float(DAY))]),
    st.lists(st.tuples(st.floats(0, 40, exclude_min=True), st.booleans()), max_size=30),
    st.integers(1, 7),
)
async def test_rows_go_once_they_are_older_than_is_declared(
    database: Database,
    table: str,
    unit: tuple[Unit, float],
    rows: list[tuple[float, bool]],
    portion: int,
) -> None:
    name, seconds = unit
    stored = [(int((NOW - age * DAY) // seconds), is_open) for age, is_open in rows]
    await database.pool.execute(f"truncate {table}")
    await database.pool.executemany(f"insert into {table} values ($1, $2)", stored)
    kept = Kept(table, Age("at", timedelta(days=7), name, where="not open"), Nobodys())

    swept = await Sweep(database, [kept], clock=lambda: NOW).sweep(portion)

    left = sorted(tuple(row) for row in await database.pool.fetch(f"select at, open from {table}"))
    oldest = int((NOW - 7 * DAY) // seconds)
    expected = sorted(row for row in stored if row[0] >= oldest or row[1])
    assert expected == left
    assert len(rows) - len(expected) == swept.get(table, 0)


async def test_what_has_no_age_stays(database: Database) -> None:
    await database.pool.execute("insert into plain values (0, false)")

    swept = await Sweep(database, [Kept("plain", Lasting("for ever"), Nobodys())], lambda: NOW).sweep()

    assert {} == swept
    assert 1 == await database.pool.fetchval("select count(*) from plain")
