"""Keeps templates and campaigns."""

import time
from collections.abc import Callable, Mapping

from libs.errors import NotFound
from services.render.domain import HTML, MICROS, TEXT, Campaign, Template
from services.render.ports import Campaigns, Engine, Templates


class Library:
    """Templates, checked before they are stored, and the campaigns that use them."""

    def __init__(
        self,
        templates: Templates,
        campaigns: Campaigns,
        engine: Engine,
        text_template: Callable[[str], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._templates = templates
        self._campaigns = campaigns
        self._engine = engine
        self._text_template = text_template
        self._clock = clock

    def complete(self, sources: Mapping[str, str]) -> dict[str, str]:
        """All four parts: the text is made from the HTML where none is given."""
        return {**sources, TEXT: sources[TEXT] or self._text_template(sources[HTML])}

    async def put_template(self, template_id: str, sources: Mapping[str, str]) -> Template:
        """Store a new version, unless it says what the newest says; Unrenderable where it is wrong."""
        every = self.complete(sources)
        await self._engine.check(every)
        return await self._templates.put(Template(template_id, 0, every, int(self._clock() * MICROS)))

    async def template(self, template_id: str, version: int = 0) -> Template:
        """One version, or the newest."""
        found = await self._templates.get(template_id, version)
        if found is None:
            raise NotFound(f"there is no such template: {template_id}", template_id=template_id)
        return found

    async def templates(self) -> list[Template]:
        """The newest versions, by id."""
        return await self._templates.all()

    async def put_campaign(self, campaign: Campaign) -> Campaign:
        """Create it or change it; NotFound for an unknown template."""
        await self.template(campaign.template_id)
        await self._campaigns.put(campaign)
        return campaign

    async def campaigns(self) -> list[Campaign]:
        """All, by id."""
        return await self._campaigns.all()
