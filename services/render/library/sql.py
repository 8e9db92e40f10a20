"""Templates in PostgreSQL. Times are microseconds since 1970."""

from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    MetaData,
    Select,
    SmallInteger,
    Table,
    Text,
    literal,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError

from libs.database import Connection, Database
from libs.database.tables import Kept, Lasting, Nobodys
from services.render.engine.model.parts import PARTS, PREHEADER, SUBJECT, Dialect
from services.render.library.model import Template, TemplateInUse

METADATA = MetaData(schema="render")

# The newest version of each template that is there.
TEMPLATES = Table(
    "templates",
    METADATA,
    Column("template_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

# Every version there ever was: messages name those that they were made with.
VERSIONS = Table(
    "template_versions",
    METADATA,
    Column("template_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("dialect", SmallInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("preheader", Text, nullable=False),
    Column("html", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    # Of the call that made it; empty where the caller gave none.
    Column("request_id", Text, nullable=False),
    Index(
        "template_versions_by_request", "template_id", "request_id", postgresql_where=text("request_id <> ''")
    ),
)

TABLES = (
    Kept("render.templates", Lasting("until it is deleted"), Nobodys()),
    Kept("render.template_versions", Lasting("messages name the version they were made with"), Nobodys()),
)

# Versions are counted: two writers of one template must not count at once.
_ONE_WRITER = text("select pg_advisory_xact_lock(hashtext('render template ' || :template_id))")
_COLUMNS = ("template_id", "version", "dialect", *PARTS, "created", "updated")
_SHORT = (SUBJECT, PREHEADER)
_NEWEST = """
select t.template_id, t.version, v.dialect, v.subject, v.preheader, v.html, v.text, v.created, v.updated
from render.templates as t join render.template_versions as v using (template_id, version)
where t.template_id = $1
"""


class SqlTemplates:
    """Templates, each version a row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, template_id: str, version: int = 0) -> Template | None:
        query = _versions().where(VERSIONS.c.template_id == template_id)
        query = query.where(VERSIONS.c.version == version) if version else _present(query)
        return await self._one(query)

    async def made_by(self, template_id: str, request_id: str) -> Template | None:
        query = select(*(VERSIONS.c[name] for name in _COLUMNS)).join(
            TEMPLATES, TEMPLATES.c.template_id == VERSIONS.c.template_id
        )
        wanted = (VERSIONS.c.template_id == template_id) & (VERSIONS.c.request_id == request_id)
        return await self._one(query.where(wanted).order_by(VERSIONS.c.version).limit(1))

    async def put(self, template: Template, expected: int, request_id: str) -> Template | None:
        template_id = template.template_id
        async with self._database.query() as connection:
            await connection.execute(_ONE_WRITER, {"template_id": template_id})
            head = select(TEMPLATES.c.version).where(TEMPLATES.c.template_id == template_id)
            found = (await connection.execute(head)).scalar_one_or_none()
            if (found or 0) != expected:
                return None
            newest = select(VERSIONS.c.version).where(VERSIONS.c.template_id == template_id)
            newest = newest.order_by(VERSIONS.c.version.desc()).limit(1)
            version = 1 + ((await connection.execute(newest)).scalar_one_or_none() or 0)
            values = {
                "template_id": template_id,
                "version": version,
                "dialect": template.dialect,
                "created": template.created,
                "updated": template.updated,
                "request_id": request_id,
            }
            await connection.execute(VERSIONS.insert().values(**values, **template.sources))
            if expected:
                same = TEMPLATES.c.template_id == template_id
                await connection.execute(TEMPLATES.update().where(same).values(version=version))
            else:
                await connection.execute(TEMPLATES.insert().values(template_id=template_id, version=version))
        return Template(
            template_id, version, template.sources, template.dialect, template.created, template.updated
        )

    async def delete(self, template_id: str, expected: int) -> bool:
        there = (TEMPLATES.c.template_id == template_id) & (TEMPLATES.c.version == expected)
        try:
            async with self._database.query() as connection:
                return (await connection.execute(TEMPLATES.delete().where(there))).rowcount == 1
        except IntegrityError as error:
            if isinstance(_cause(error), asyncpg.ForeignKeyViolationError):
                raise TemplateInUse(
                    f"template {template_id} is used by a campaign", template_id=template_id
                ) from None
            raise

    async def page(self, after: str, limit: int) -> list[Template]:
        query = _present(_versions(_SHORT)).where(TEMPLATES.c.template_id > after)
        return await self._all(query.order_by(TEMPLATES.c.template_id).limit(limit))

    async def versions(self, template_id: str, below: int, limit: int) -> list[Template]:
        query = _versions(_SHORT).where(VERSIONS.c.template_id == template_id, VERSIONS.c.version < below)
        return await self._all(query.order_by(VERSIONS.c.version.desc()).limit(limit))

    async def _one(self, query: Select[Any]) -> Template | None:
        async with self._database.query() as connection:
            row = (await connection.execute(query)).one_or_none()
        return _template_of(row._mapping) if row else None

    async def _all(self, query: Select[Any]) -> list[Template]:
        async with self._database.query() as connection:
            return [_template_of(row._mapping) for row in await connection.execute(query)]


class TemplatesOfBatch:
    """Templates as they are in a transaction that somebody else has opened."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def newest(self, template_id: str) -> Template | None:
        """The newest version; None where there is no such template."""
        row = await self._connection.fetchrow(_NEWEST, template_id)
        return _template_of(row) if row else None


def _versions(parts: tuple[str, ...] = PARTS) -> Select[Any]:
    """The query for versions; the other parts are left empty: a page of bodies could be 400 MB."""
    return select(
        *(
            literal("").label(name) if name in PARTS and name not in parts else VERSIONS.c[name]
            for name in _COLUMNS
        )
    )


def _present(query: Select[Any]) -> Select[Any]:
    """Only the newest versions of the templates that are there."""
    newest = (TEMPLATES.c.template_id == VERSIONS.c.template_id) & (TEMPLATES.c.version == VERSIONS.c.version)
    return query.join(TEMPLATES, newest)


def _template_of(row: Any) -> Template:
    """From its row, of either driver; column by column, so that a newer release may add some."""
    return Template(
        template_id=row["template_id"],
        version=row["version"],
        sources={part: row[part] for part in PARTS},
        dialect=Dialect(row["dialect"]),
        created=row["created"],
        updated=row["updated"],
    )


def _cause(error: IntegrityError) -> BaseException | None:
    return error.orig.__cause__ if error.orig is not None else None
