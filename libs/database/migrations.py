"""Runs Alembic migrations, a schema and a history of its own for each service.

`python -m libs.database.migrations` does so for the schemas that its standard input tells.
"""

import asyncio
import sys
from pathlib import Path

import orjson
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from libs.database.failures import is_transient
from libs.database.schemas import PASSING, Schema

_MAY_OWN = text(
    "select has_database_privilege(oid, current_database(), 'create') and pg_has_role(oid, 'member') "
    "from pg_roles where rolname = :owner"
)


def _upgrade(connection: Connection, schema: Schema) -> None:
    name, owner = schema.name, schema.owner
    # Two replicas may start at once: the second waits, then finds nothing to do.
    connection.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": f"migrate {name}"})
    holder = connection.scalar(
        text("select nspowner::regrole::text from pg_namespace where nspname = :schema"), {"schema": name}
    )
    # A schema that is somebody else's already stays theirs. Roles are the server's: that one exists says
    # nothing yet of this database.
    if owner and holder in (None, owner) and connection.scalar(_MAY_OWN, {"owner": owner}):
        connection.execute(text(f'set local role "{owner}"'))
    if holder is None:
        connection.execute(text(f'create schema "{name}"'))
    config = Config()
    config.set_main_option("script_location", str(schema.folder))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)

    def upgrade(revision: object, _context: MigrationContext) -> list[object]:
        return script._upgrade_revs("head", revision)  # type: ignore[arg-type,return-value]

    with EnvironmentContext(config, script, fn=upgrade) as environment:
        environment.configure(connection=connection, version_table_schema=name)
        environment.run_migrations()


async def migrate(url: str, schema: Schema) -> None:
    """Bring a schema to the newest revision in its folder, in one transaction.

    It belongs to its owner where that role exists, may create schemas in this database, and the caller is one
    of its members; else to the caller.
    """
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    try:
        async with asyncio.timeout(120), engine.begin() as connection:
            await connection.run_sync(_upgrade, schema)
    finally:
        await engine.dispose()


async def _main() -> None:
    job = orjson.loads(sys.stdin.buffer.read())
    for name, folder, owner in job["schemas"]:
        await migrate(job["url"], Schema(name, Path(folder), owner))


if __name__ == "__main__":
    try:
        asyncio.run(_main())
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - the parent tells it
        sys.exit(PASSING if is_transient(error) else 1)
