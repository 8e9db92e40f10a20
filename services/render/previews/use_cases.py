"""Shows what a template or a campaign would say, and sends it to those who write them."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from libs.addresses import normal_email
from libs.errors import FailedPrecondition, Invalid, Malformed, NotFound, TooLarge
from libs.ids import check_request_id, uuid_text
from libs.unsubscribe import Links
from services.render.campaigns.model import MOST_RECOMMENDATIONS, Campaign
from services.render.campaigns.use_cases import CampaignBook
from services.render.deciding.model import (
    Advice,
    Ingredients,
    Wish,
    context_of,
    hash_of,
    products_in,
    remembered_event,
)
from services.render.delivery.model import Cause, Content, Decision, Outcome, headers_of
from services.render.engine.model.parts import finished
from services.render.library.model import Checked, Template
from services.render.library.use_cases import Library
from services.render.model import MICROS
from services.render.model.people import Person, Stream
from services.render.previews.model import Shown, Source, marked
from services.render.previews.ports import Engine, Neighbours, Outbox

_MOST_CONTEXT = 1_000_000


@dataclass(frozen=True, slots=True)
class _Draft:
    """A template filled for one person."""

    template: Template
    campaign: Campaign | None
    person: Person
    model_version: int
    shown: Shown


class Previews:
    """Renders for those who write templates."""

    def __init__(
        self,
        library: Library,
        campaigns: CampaignBook,
        neighbours: Neighbours,
        engine: Engine,
        outbox: Outbox,
        links: Links,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._library = library
        self._campaigns = campaigns
        self._neighbours = neighbours
        self._engine = engine
        self._outbox = outbox
        self._links = links
        self._clock = clock

    async def preview(self, template: Template, context: bytes) -> Shown:
        """Fill an unsaved template with a context of the caller's."""
        checked = await self._library.check(template)
        context = _checked_object("context_json", context)
        parts = finished(await self._engine.render(checked.template.sources, context))
        return Shown(parts, context, checked.warnings)

    async def render(self, source: Source, profile_id: str, recommendations: int, event: bytes) -> Shown:
        """Fill a template for one person, as a campaign would."""
        return (await self._draft(source, profile_id, recommendations, event)).shown

    async def send_test(
        self, source: Source, profile_id: str, address: str, event: bytes, request_id: str = ""
    ) -> tuple[str, Shown]:
        """Let a connector send a campaign's mail to an address; returns the message's id and what it says."""
        check_request_id(request_id)
        to = normal_email(address)
        if to is None:
            raise Malformed("to", "is no email address")
        draft = await self._draft(source, profile_id, 0, event)
        campaign = draft.campaign
        if campaign is None:
            raise NotFound(f"there is no such campaign: {source.campaign_id}", campaign_id=source.campaign_id)
        now = int(self._clock() * MICROS)
        seed = request_id.encode() or os.urandom(16)
        cause = Cause(
            profile_id=draft.person.profile_id,
            profile_revision=draft.person.revision,
            start=campaign.start,
            definition_id=campaign.definition_id,
            cause_id=hashlib.sha256(b"test\0" + seed).digest()[:16],
            time=now,
            event=event,
        )
        url = self._links.preview_url if campaign.stream is Stream.MARKETING else ""
        decision = Decision(
            campaign=campaign,
            cause=cause,
            outcome=Outcome.RENDERED,
            time=now,
            address=to,
            template_version=draft.template.version,
            model_version=draft.model_version,
            profile_revision=draft.person.revision,
            inputs_hash=hash_of(draft.shown.context),
            content=Content(marked(draft.shown.parts), headers_of(url), remembered_event(event)),
            test=True,
        )
        await self._outbox.store([decision])
        return decision.message_id, draft.shown

    async def _draft(self, source: Source, profile_id: str, recommendations: int, event: bytes) -> _Draft:
        asked = [uuid_text(profile_id, "profile_id")]
        if not 0 <= recommendations <= MOST_RECOMMENDATIONS:
            raise Invalid("recommendations", f"must be from 0 to {MOST_RECOMMENDATIONS}")
        event = _checked_object("event_properties_json", event) if event else event
        campaign = await self._campaigns.get(source.campaign_id) if source.campaign_id else None
        checked = await self._template(source, campaign)
        person = (await self._neighbours.people(asked)).get(asked[0])
        if person is None:
            raise NotFound(f"nobody has profile {profile_id}", profile_id=profile_id)
        if person.unreadable:
            raise FailedPrecondition(person.unreadable)
        segments = await self._neighbours.segments(asked) if person.is_personalizable else {}
        wanted = recommendations or (campaign.recommendations if campaign else 0)
        wanted = wanted if person.is_analysable else 0
        wish = Wish(person.profile_id, wanted, products_in(event))
        (found,) = await self._neighbours.advice([wish]) if wanted else [Advice()]
        context = context_of(
            Ingredients(
                person,
                segments=segments.get(asked[0], ()),
                advice=found,
                event=event,
                campaign_id=campaign.campaign_id if campaign else "",
                campaign_name=campaign.display_name if campaign else "",
                # Not the person's own link: whoever looks at a preview must not unsubscribe anybody.
                unsubscribe_url=self._preview_url(campaign),
            )
        )
        parts = finished(await self._engine.render(checked.template.sources, context))
        shown = Shown(parts, context, checked.warnings)
        return _Draft(checked.template, campaign, person, found.model_version, shown)

    async def _template(self, source: Source, campaign: Campaign | None) -> Checked:
        if source.template is not None:
            return await self._library.check(source.template)
        template_id = source.template_id or (campaign.template_id if campaign else "")
        return await self._library.check(await self._library.get(template_id))

    def _preview_url(self, campaign: Campaign | None) -> str:
        if campaign is not None and campaign.stream is not Stream.MARKETING:
            return ""
        return self._links.preview_url


def _checked_object(field: str, content: bytes) -> bytes:
    """A JSON object; Invalid where it is none. Nothing counts as an empty one."""
    if len(content) > _MOST_CONTEXT:
        raise TooLarge(field, f"has more than {_MOST_CONTEXT:,} bytes")
    try:
        found = msgspec.json.decode(content or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(field, f"is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise Malformed(field, "must be a JSON object")
    return content or b"{}"
