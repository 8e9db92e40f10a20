from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from libs.database import Schema, prepare_schemas, schemas
from libs.database.connection import dsn_of
from libs.database.embedded import free_port
from libs.errors import Unavailable

_ENV = "from alembic import context\nwith context.begin_transaction():\n    context.run_migrations()\n"


def _schema(folder: Path, *statements: str) -> Schema:
    """A schema with a migration for each statement."""
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    (folder / "env.py").write_text(_ENV)
    before = None
    for number, statement in enumerate(statements, 1):
        revision = f"{number:04}"
        text = f"from alembic import op\nrevision = {revision!r}\ndown_revision = {before!r}\n"
        text += f"def upgrade():\n    op.execute({statement!r})\n"
        (folder / "versions" / f"{revision}_step.py").write_text(text)
        before = revision
    return Schema("shop", folder)


async def _names(url: str) -> set[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "select relname from pg_class where relnamespace = 'shop'::regnamespace"
        )
        return {row[0] for row in rows}
    finally:
        await connection.close()


async def test_a_schema_is_brought_to_its_newest_revision_from_any(database_url: str, tmp_path: Path) -> None:
    await prepare_schemas(database_url, _schema(tmp_path, "create table shop.one ()"))
    assert "one" in await _names(database_url)
    await prepare_schemas(
        database_url, _schema(tmp_path, "create table shop.one ()", "create table shop.two ()")
    )
    assert {"one", "two"} <= await _names(database_url)


async def test_a_schema_that_is_up_to_date_needs_no_process(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = _schema(tmp_path, "create table shop.one ()")
    await prepare_schemas(database_url, schema)
    monkeypatch.setattr("sys.executable", "/no/such/python")
    await prepare_schemas(database_url, schema)
    with pytest.raises(FileNotFoundError):
        await prepare_schemas(
            database_url, _schema(tmp_path, "create table shop.one ()", "create table shop.two ()")
        )


async def test_a_migration_that_fails_is_told_and_leaves_nothing(database_url: str, tmp_path: Path) -> None:
    schema = _schema(tmp_path, "create table shop.one ()", "create table of nonsense")
    with pytest.raises(RuntimeError, match=r"can't bring shop up to date: .*syntax error"):
        await prepare_schemas(database_url, schema)
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("select to_regnamespace('shop')") is None
    await connection.close()


def test_a_url_of_sqlalchemy_is_one_of_asyncpg_as_well() -> None:
    assert dsn_of("postgresql+asyncpg://a:b%2B@h:1/d?x=+") == "postgresql://a:b%2B@h:1/d?x=+"
    assert dsn_of("postgresql://a@h/d") == "postgresql://a@h/d"
    assert dsn_of("postgres://a@h/d") == "postgresql://a@h/d"


async def test_a_database_that_goes_away_in_a_migration_is_no_failure_of_the_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def outdated(url: str, of: Sequence[Schema]) -> list[Schema]:
        return list(of)

    monkeypatch.setattr(schemas, "_outdated", outdated)
    with pytest.raises(Unavailable, match="can't bring shop up to date: ConnectionRefusedError"):
        await prepare_schemas(f"postgresql://me@127.0.0.1:{free_port()}/x", _schema(tmp_path, "select 1"))
