"""A service's schema, and how it is brought up to date in a process of its own.

Alembic and SQLAlchemy take about 35 MB, of which a process that stays would never give anything back.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import orjson

from libs.database.connection import open_connection
from libs.database.tables import Kept
from libs.errors import Unavailable

# Members of this role share the event log's tables where all services share one PostgreSQL.
SHARED_OWNER = "tessera_log"
# What the child's exit code says of a failure that passes: EX_TEMPFAIL.
PASSING = 75
_REVISION = 'select version_num from "{}".alembic_version'


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema's name, the folder of its migrations, and the role that owns it where that exists."""

    name: str
    folder: Path
    owner: str | None = None
    tables: tuple[Kept, ...] = ()
    """How long the rows of its tables are kept: every table has a line."""

    @property
    def newest(self) -> str:
        """The revision that its migrations lead to: their files are named by their revisions."""
        files = (self.folder / "versions").glob("[0-9]*.py")
        return max(file.stem.partition("_")[0] for file in files)


async def prepare_schemas(url: str, *schemas: Schema) -> None:
    """Bring schemas to their newest revisions, in this order; RuntimeError tells why one can't be.

    Unavailable where the database went away meanwhile: the same may succeed later.
    """
    outdated = await _outdated(url, schemas)
    if not outdated:
        return
    job = {"url": url, "schemas": [[s.name, str(s.folder), s.owner] for s in outdated]}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "libs.database.migrations"),
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        # Not as an argument: those can be seen by everybody on the machine.
        _, complaint = await child.communicate(orjson.dumps(job))
    finally:
        if child.returncode is None:
            child.kill()
    if child.returncode:
        names = ", ".join(schema.name for schema in outdated)
        told = f"can't bring {names} up to date: {complaint.decode(errors='replace').strip()}"
        raise Unavailable(told) if child.returncode == PASSING else RuntimeError(told)


async def _outdated(url: str, schemas: Sequence[Schema]) -> list[Schema]:
    connection = await open_connection(url, "migrations")
    try:
        outdated = []
        for schema in schemas:
            try:
                revision = await connection.fetchval(_REVISION.format(schema.name))
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
                revision = None
            if revision != schema.newest:
                outdated.append(schema)
        return outdated
    finally:
        await connection.close()
