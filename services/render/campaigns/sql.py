"""Campaigns in PostgreSQL. Times are microseconds since 1970."""

from typing import Any

import asyncpg
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    Select,
    SmallInteger,
    Table,
    Text,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError

from libs.database import Connection, Database
from libs.database.tables import Kept, Lasting, Nobodys
from libs.errors import NotFound
from services.render.campaigns.model import Campaign, Start
from services.render.model.people import Stream

METADATA = MetaData(schema="render")

# The newest version of each campaign that is there. A template that one of these names can't be deleted.
CAMPAIGNS = Table(
    "campaigns",
    METADATA,
    Column("campaign_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("template_id", Text, nullable=False),
    Index("campaigns_of_template", "template_id"),
)

# Every version there ever was: messages name those that they were made by.
VERSIONS = Table(
    "campaign_versions",
    METADATA,
    Column("campaign_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("start", SmallInteger, nullable=False),
    Column("definition_id", Text, nullable=False),
    Column("template_id", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("reply_to", Text, nullable=False),
    Column("stream", SmallInteger, nullable=False),
    Column("max_age_seconds", Integer, nullable=False),
    Column("expire_after_seconds", Integer, nullable=False),
    Column("recommendations", Integer, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("accept_untrusted", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    # Of the call that made it; empty where the caller gave none.
    Column("request_id", Text, nullable=False),
    Index(
        "campaign_versions_by_request", "campaign_id", "request_id", postgresql_where=text("request_id <> ''")
    ),
)

TABLES = (
    Kept("render.campaigns", Lasting("until it is deleted"), Nobodys()),
    Kept("render.campaign_versions", Lasting("messages name the version they were made by"), Nobodys()),
)

# A template can't be deleted while a campaign uses it, nor a campaign stored whose template is gone.
FOREIGN_KEY = """
alter table render.campaigns add constraint campaigns_template
foreign key (template_id) references render.templates (template_id)
"""

# Versions are counted: two writers of one campaign must not count at once.
_ONE_WRITER = text("select pg_advisory_xact_lock(hashtext('render campaign ' || :campaign_id))")
_NAMES = tuple(column.name for column in VERSIONS.columns if column.name != "request_id")
_ALL = f"""
select {", ".join(f"v.{name}" for name in _NAMES)}
from render.campaigns as c join render.campaign_versions as v using (campaign_id, version)
order by campaign_id
"""  # noqa: S608 - the names are ours


class SqlCampaigns:
    """Campaigns, each version a row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, campaign_id: str, version: int = 0) -> Campaign | None:
        query = _versions().where(VERSIONS.c.campaign_id == campaign_id)
        query = query.where(VERSIONS.c.version == version) if version else _present(query)
        return await self._one(query)

    async def made_by(self, campaign_id: str, request_id: str) -> Campaign | None:
        query = _versions().join(CAMPAIGNS, CAMPAIGNS.c.campaign_id == VERSIONS.c.campaign_id)
        wanted = (VERSIONS.c.campaign_id == campaign_id) & (VERSIONS.c.request_id == request_id)
        return await self._one(query.where(wanted).order_by(VERSIONS.c.version).limit(1))

    async def put(self, campaign: Campaign, expected: int, request_id: str) -> Campaign | None:
        """Store it as a new version; NotFound for an unknown template."""
        try:
            return await self._put(campaign, expected, request_id)
        except IntegrityError as error:
            if error.orig is None or not isinstance(error.orig.__cause__, asyncpg.ForeignKeyViolationError):
                raise
            template_id = campaign.template_id
            raise NotFound(f"there is no such template: {template_id}", template_id=template_id) from None

    async def _put(self, campaign: Campaign, expected: int, request_id: str) -> Campaign | None:
        campaign_id = campaign.campaign_id
        async with self._database.query() as connection:
            await connection.execute(_ONE_WRITER, {"campaign_id": campaign_id})
            head = select(CAMPAIGNS.c.version).where(CAMPAIGNS.c.campaign_id == campaign_id)
            found = (await connection.execute(head)).scalar_one_or_none()
            if (found or 0) != expected:
                return None
            newest = select(VERSIONS.c.version).where(VERSIONS.c.campaign_id == campaign_id)
            newest = newest.order_by(VERSIONS.c.version.desc()).limit(1)
            version = 1 + ((await connection.execute(newest)).scalar_one_or_none() or 0)
            values = {name: getattr(campaign, name) for name in _NAMES}
            values |= {"version": version, "request_id": request_id}
            row = (await connection.execute(VERSIONS.insert().values(**values).returning(*_columns()))).one()
            head_values = {"version": version, "template_id": campaign.template_id}
            if expected:
                same = CAMPAIGNS.c.campaign_id == campaign_id
                await connection.execute(CAMPAIGNS.update().where(same).values(**head_values))
            else:
                await connection.execute(CAMPAIGNS.insert().values(campaign_id=campaign_id, **head_values))
        return _campaign_of(row._mapping)

    async def delete(self, campaign_id: str, expected: int) -> bool:
        there = (CAMPAIGNS.c.campaign_id == campaign_id) & (CAMPAIGNS.c.version == expected)
        async with self._database.query() as connection:
            return (await connection.execute(CAMPAIGNS.delete().where(there))).rowcount == 1

    async def page(self, after: str, limit: int) -> list[Campaign]:
        query = _present(_versions()).where(CAMPAIGNS.c.campaign_id > after)
        return await self._all(query.order_by(CAMPAIGNS.c.campaign_id).limit(limit))

    async def versions(self, campaign_id: str, below: int, limit: int) -> list[Campaign]:
        query = _versions().where(VERSIONS.c.campaign_id == campaign_id, VERSIONS.c.version < below)
        return await self._all(query.order_by(VERSIONS.c.version.desc()).limit(limit))

    async def _one(self, query: Select[Any]) -> Campaign | None:
        async with self._database.query() as connection:
            row = (await connection.execute(query)).one_or_none()
        return _campaign_of(row._mapping) if row else None

    async def _all(self, query: Select[Any]) -> list[Campaign]:
        async with self._database.query() as connection:
            return [_campaign_of(row._mapping) for row in await connection.execute(query)]


class CampaignsOfBatch:
    """Campaigns as they are in a transaction that somebody else has opened."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def all(self) -> list[Campaign]:
        """The newest versions of all campaigns, by id."""
        return [_campaign_of(row) for row in await self._connection.fetch(_ALL)]


def _columns() -> list[Any]:
    return [VERSIONS.c[name] for name in _NAMES]


def _versions() -> Select[Any]:
    return select(*_columns())


def _present(query: Select[Any]) -> Select[Any]:
    """Only the newest versions of the campaigns that are there."""
    newest = (CAMPAIGNS.c.campaign_id == VERSIONS.c.campaign_id) & (CAMPAIGNS.c.version == VERSIONS.c.version)
    return query.join(CAMPAIGNS, newest)


def _campaign_of(row: Any) -> Campaign:
    """From its row, of either driver; column by column, so that a newer release may add some."""
    return Campaign(
        campaign_id=row["campaign_id"],
        display_name=row["display_name"],
        start=Start(row["start"]),
        definition_id=row["definition_id"],
        template_id=row["template_id"],
        sender=row["sender"],
        reply_to=row["reply_to"],
        stream=Stream(row["stream"]),
        max_age_seconds=row["max_age_seconds"],
        expire_after_seconds=row["expire_after_seconds"],
        recommendations=row["recommendations"],
        paused=row["paused"],
        accept_untrusted=row["accept_untrusted"],
        version=row["version"],
        created=row["created"],
        updated=row["updated"],
    )
