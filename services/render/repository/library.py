"""Templates and campaigns in PostgreSQL."""

from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from libs.database import Database
from services.render.domain import PARTS, Campaign, Start, Stream, Template
from services.render.tables import CAMPAIGNS, TEMPLATES

# Versions are counted: two writers of one template must not count at once.
_ONE_WRITER = text("select pg_advisory_xact_lock(hashtext('render template ' || :template_id))")


class SqlTemplates:
    """Templates, each version a row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, template: Template) -> Template:
        async with self._database.query() as connection:
            await connection.execute(_ONE_WRITER, {"template_id": template.template_id})
            found = (await connection.execute(newest(template.template_id))).one_or_none()
            stored = found and template_of(found)
            if stored and stored.sources == template.sources:
                return stored
            version = stored.version + 1 if stored else 1
            values = {"template_id": template.template_id, "version": version, "created": template.created}
            await connection.execute(TEMPLATES.insert().values(**values, **template.sources))
        return Template(template.template_id, version, template.sources, template.created)

    async def get(self, template_id: str, version: int = 0) -> Template | None:
        query = newest(template_id)
        if version:
            query = query.where(TEMPLATES.c.version == version)
        async with self._database.query() as connection:
            found = (await connection.execute(query)).one_or_none()
        return template_of(found) if found else None

    async def all(self) -> list[Template]:
        by_id = TEMPLATES.c.template_id
        query = select(TEMPLATES).ext(distinct_on(by_id)).order_by(by_id, TEMPLATES.c.version.desc())
        async with self._database.query() as connection:
            return [template_of(row) for row in await connection.execute(query)]


def newest(template_id: str) -> Any:
    """The query for a template's newest version."""
    return (
        select(TEMPLATES)
        .where(TEMPLATES.c.template_id == template_id)
        .order_by(TEMPLATES.c.version.desc())
        .limit(1)
    )


def template_of(row: Any) -> Template:
    """From its row."""
    return Template(row.template_id, row.version, {part: getattr(row, part) for part in PARTS}, row.created)


class SqlCampaigns:
    """Campaigns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, campaign: Campaign) -> None:
        values = {
            "display_name": campaign.display_name,
            "start": campaign.start,
            "definition_id": campaign.definition_id,
            "template_id": campaign.template_id,
            "sender": campaign.sender,
            "reply_to": campaign.reply_to,
            "stream": campaign.stream,
            "max_age_seconds": campaign.max_age_seconds,
            "expire_after_seconds": campaign.expire_after_seconds,
            "recommendations": campaign.recommendations,
            "paused": campaign.paused,
        }
        query = upsert(CAMPAIGNS).values(campaign_id=campaign.campaign_id, **values)
        async with self._database.query() as connection:
            await connection.execute(query.on_conflict_do_update(index_elements=["campaign_id"], set_=values))

    async def all(self) -> list[Campaign]:
        query = select(CAMPAIGNS).order_by(CAMPAIGNS.c.campaign_id)
        async with self._database.query() as connection:
            return [campaign_of(row._mapping) for row in await connection.execute(query)]


def campaign_of(row: Any) -> Campaign:
    """From its row, of either driver."""
    return Campaign(**{**row, "start": Start(row["start"]), "stream": Stream(row["stream"])})
