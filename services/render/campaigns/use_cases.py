"""Keeps campaigns."""

import time
from collections.abc import Callable
from dataclasses import replace

from libs.errors import Invalid
from services.render.campaigns.model import MOST_RECOMMENDATIONS, Campaign
from services.render.campaigns.ports import Campaigns
from services.render.model import MICROS
from services.render.model.mailboxes import checked_mailbox
from services.render.model.resources import Resources, checked_id

_MOST_NAME = 200
_MAX_AGE, _MOST_MAX_AGE = 3600, 7 * 86_400
_EXPIRE_AFTER, _MOST_EXPIRE_AFTER = 86_400, 30 * 86_400


class CampaignBook:
    """Campaigns, checked before they are stored."""

    def __init__(self, campaigns: Campaigns, clock: Callable[[], float] = time.time) -> None:
        self._resources = Resources(campaigns, "campaign")
        self._clock = clock

    async def create(self, campaign: Campaign, request_id: str = "", validate_only: bool = False) -> Campaign:
        """Store a new campaign; NotFound for an unknown template."""
        stamped = self._stamped(checked(campaign), None)
        return await self._resources.create(campaign.campaign_id, stamped, request_id, validate_only)

    async def update(
        self,
        campaign_id: str,
        change: Callable[[Campaign | None], Campaign],
        etag: str = "",
        allow_missing: bool = False,
        request_id: str = "",
        validate_only: bool = False,
    ) -> Campaign:
        """Store what `change` makes of the newest version, None for a missing one, unless it is the same."""
        checked_id("campaign.campaign_id", campaign_id)

        async def make(stored: Campaign | None) -> Campaign:
            return self._stamped(checked(change(stored)), stored)

        return await self._resources.update(campaign_id, make, etag, allow_missing, request_id, validate_only)

    async def get(self, campaign_id: str, version: int = 0) -> Campaign:
        """One version, or the newest."""
        return await self._resources.get(campaign_id, version)

    async def page(self, after: str, limit: int) -> tuple[list[Campaign], bool]:
        """The next campaigns by id, and whether there are more."""
        return await self._resources.page(after, limit)

    async def versions(self, campaign_id: str, below: int, limit: int) -> tuple[list[Campaign], bool]:
        """The next older versions, and whether there are more."""
        return await self._resources.versions(campaign_id, below, limit)

    async def delete(self, campaign_id: str, etag: str = "", allow_missing: bool = False) -> None:
        """Delete it; what waits for a connector is still handed out."""
        await self._resources.delete(campaign_id, etag, allow_missing)

    def _stamped(self, campaign: Campaign, stored: Campaign | None) -> Campaign:
        now = int(self._clock() * MICROS)
        version, created = (stored.version, stored.created) if stored else (0, now)
        return replace(campaign, version=version, created=created, updated=now)


def checked(campaign: Campaign) -> Campaign:
    """The campaign with its defaults; Invalid names the wrong field."""
    checked_id("campaign.campaign_id", campaign.campaign_id)
    checked_id(f"campaign.{campaign.start.name.lower()}_id", campaign.definition_id)
    checked_id("campaign.template_id", campaign.template_id)
    if len(campaign.display_name) > _MOST_NAME or "\0" in campaign.display_name:
        raise Invalid("campaign.display_name", f"must have at most {_MOST_NAME} characters")
    reply_to = campaign.reply_to
    return replace(
        campaign,
        sender=checked_mailbox("campaign.sender", campaign.sender),
        reply_to=checked_mailbox("campaign.reply_to", reply_to) if reply_to else "",
        max_age_seconds=_within("max_age", campaign.max_age_seconds, _MAX_AGE, _MOST_MAX_AGE),
        expire_after_seconds=_within(
            "expire_after", campaign.expire_after_seconds, _EXPIRE_AFTER, _MOST_EXPIRE_AFTER
        ),
        recommendations=_within("recommendations", campaign.recommendations, 0, MOST_RECOMMENDATIONS),
    )


def _within(name: str, value: int, default: int, most: int) -> int:
    if not 0 <= value <= most:
        raise Invalid(f"campaign.{name}", f"must be from 0 to {most:,}")
    return value or default
