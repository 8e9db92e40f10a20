"""Every table says how long its rows are kept and how a person's rows are erased."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from libs.database.migrations import migrate
from libs.database.schemas import Schema
from libs.database.tables import Age, Erased, Kept
from libs.messaging import schema as log_schema

ROOT = Path(__file__).resolve().parents[3]
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/app.py"))
OWN = {"alembic_version"}


def schemas() -> Iterator[Schema]:
    yield log_schema.SCHEMA
    for service in SERVICES:
        yield importlib.import_module(f"services.{service}.app").SCHEMA


@pytest.mark.parametrize("schema", list(schemas()), ids=lambda schema: schema.name)
async def test_every_table_declares_its_life_and_no_other(database_url: str, schema: Schema) -> None:
    if schema is not log_schema.SCHEMA:
        await migrate(database_url, schema)
    connection = await asyncpg.connect(database_url)
    # Parts of a partitioned table live as it does.
    rows = await connection.fetch(
        "select c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "where n.nspname = $1 and c.relkind in ('r', 'p') and not c.relispartition",
        schema.name,
    )
    columns = await connection.fetch(
        "select table_name, column_name, data_type from information_schema.columns where table_schema = $1",
        schema.name,
    )
    await connection.close()
    types = {(f"{schema.name}.{row[0]}", row[1]): row[2] for row in columns}
    tables = {f"{schema.name}.{row[0]}" for row in rows if row[0] not in OWN}

    assert sorted(tables) == sorted(kept.table for kept in schema.tables)
    for kept in schema.tables:
        for column in columns_of(kept):
            assert (kept.table, column) in types, f"{kept.table} has no column {column}"


def columns_of(kept: Kept) -> Iterator[str]:
    if isinstance(kept.life, Age):
        yield kept.life.column
    if isinstance(kept.person, Erased):
        yield kept.person.column
