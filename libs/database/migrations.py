"""Runs Alembic migrations, a schema and a history of its own for each service."""

import asyncio
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

# Members of this role share the event log's tables where all services share one PostgreSQL.
SHARED_OWNER = "tessera_log"


def _upgrade(connection: Connection, folder: Path, schema: str, owner: str | None) -> None:
    # Two replicas may start at once: the second waits, then finds nothing to do.
    connection.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": f"migrate {schema}"})
    holder = connection.scalar(
        text("select nspowner::regrole::text from pg_namespace where nspname = :schema"), {"schema": schema}
    )
    known = text("select 1 from pg_roles where rolname = :owner")
    # A schema that is somebody else's already stays theirs.
    if owner and holder in (None, owner) and connection.scalar(known, {"owner": owner}):
        connection.execute(text(f'set local role "{owner}"'))
    if holder is None:
        connection.execute(text(f'create schema "{schema}"'))
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)

    def upgrade(revision: object, _context: MigrationContext) -> list[object]:
        return script._upgrade_revs("head", revision)  # type: ignore[arg-type,return-value]

    with EnvironmentContext(config, script, fn=upgrade) as environment:
        environment.configure(connection=connection, version_table_schema=schema)
        environment.run_migrations()


async def migrate(url: str, folder: Path, schema: str, owner: str | None = None) -> None:
    """Bring `schema` to the newest revision in `folder`, in one transaction.

    With `owner`, the schema belongs to that role where it exists, else to the caller.
    """
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    try:
        async with asyncio.timeout(120), engine.begin() as connection:
            await connection.run_sync(_upgrade, folder, schema, owner)
    finally:
        await engine.dispose()
