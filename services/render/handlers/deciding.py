"""Decides, for each entry and trigger that starts a campaign, whether there is a message."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from libs.errors import Invalid, Unavailable
from libs.unsubscribe import Links, Unsubscription
from services.render import domain
from services.render.domain import (
    MICROS,
    Advice,
    Campaign,
    Cause,
    Content,
    Decision,
    Ingredients,
    Outcome,
    Person,
    Stream,
    Template,
)
from services.render.ports import Decisions, Engine, Neighbours

# So many decisions share one question to each neighbour.
_GROUP = 200
_DENIED = "analytics or personalization is denied"


@dataclass(frozen=True, slots=True)
class _Draft:
    """A decision on the way to its message."""

    decision: Decision
    person: Person

    @property
    def wanted(self) -> int:
        """How many recommendations the template gets."""
        return self.decision.campaign.recommendations if self.person.is_analysable else 0


@dataclass(frozen=True, slots=True)
class _Known:
    """What the neighbours say of a group's people, and the templates of its campaigns."""

    segments: Mapping[str, Sequence[str]]
    advice: Mapping[str, Advice] | None
    """None where recommend did not answer soon."""
    templates: Mapping[str, Template | None]


class Decider:
    """Turns causes into decisions."""

    def __init__(
        self, neighbours: Neighbours, engine: Engine, links: Links, clock: Callable[[], float] = time.time
    ) -> None:
        self._neighbours = neighbours
        self._engine = engine
        self._links = links
        self._clock = clock

    async def decide(self, decisions: Decisions, causes: Sequence[Cause]) -> list[Decision]:
        """Decide a batch inside its transaction; returns what nobody had decided before.

        Unavailable, with nothing stored, where profile or segment can't be asked.
        """
        campaigns = await decisions.campaigns()
        now = int(self._clock() * MICROS)
        made: list[Decision] = []
        timely: list[Decision] = []
        for cause in causes:
            for campaign in domain.matching(campaigns, cause):
                reason = domain.missed_because(campaign, cause, now)
                if reason is None:
                    timely.append(Decision(campaign, cause, Outcome.RENDERED, now))
                else:
                    made.append(Decision(campaign, cause, Outcome.MISSED, now, reason))
        for start in range(0, len(timely), _GROUP):
            made += await self._decide_group(decisions, timely[start : start + _GROUP])
        return await decisions.store(made) if made else []

    async def _decide_group(self, decisions: Decisions, group: Sequence[Decision]) -> list[Decision]:
        known = await decisions.decided([decision.message_id for decision in group])
        fresh = [decision for decision in group if decision.message_id not in known]
        if not fresh:
            return []
        people = await self._neighbours.people({decision.cause.profile_id for decision in fresh})
        suppressed: list[Decision] = []
        drafts: list[_Draft] = []
        for decision in fresh:
            person = people.get(decision.cause.profile_id)
            _check_revision(decision.cause, person)
            reason = domain.suppressed_because(decision.campaign, person)
            if person is None or reason is not None:
                suppressed.append(replace(decision, outcome=Outcome.SUPPRESSED, reason=reason or ""))
            else:
                drafts.append(_Draft(replace(decision, profile_revision=person.revision), person))
        return suppressed + await self._render_all(decisions, drafts)

    async def _render_all(self, decisions: Decisions, drafts: Sequence[_Draft]) -> list[Decision]:
        if not drafts:
            return []
        needed = sorted({draft.decision.campaign.template_id for draft in drafts})
        templates = {template_id: await decisions.template(template_id) for template_id in needed}
        segments, advice = await asyncio.gather(self._segments(drafts), self._advice(drafts))
        known = _Known(segments, advice, templates)
        return await asyncio.gather(*(self._render(draft, known) for draft in drafts))

    async def _segments(self, drafts: Sequence[_Draft]) -> Mapping[str, Sequence[str]]:
        asked = {draft.person.profile_id for draft in drafts if draft.person.is_personalizable}
        return await self._neighbours.segments(asked) if asked else {}

    async def _advice(self, drafts: Sequence[_Draft]) -> Mapping[str, Advice] | None:
        """Recommendations are an ingredient: mail does not wait for them longer than a moment."""
        asked = {draft.person.profile_id for draft in drafts if draft.wanted}
        if not asked:
            return {}
        try:
            return await self._neighbours.advice(asked, max(draft.wanted for draft in drafts))
        except Unavailable:
            return None

    async def _render(self, draft: _Draft, known: _Known) -> Decision:
        decision, person = draft.decision, draft.person
        template = known.templates[decision.campaign.template_id]
        if template is None:
            return replace(decision, outcome=Outcome.FAILED, reason="the template does not exist")
        decision = replace(decision, template_version=template.version)
        advice = (known.advice or {}).get(person.profile_id, Advice())
        ingredients = Ingredients(
            person,
            segments=known.segments.get(person.profile_id, ()),
            advice=replace(advice, recommendations=advice.recommendations[: draft.wanted]),
            event=decision.cause.event,
            campaign_id=decision.campaign.campaign_id,
            campaign_name=decision.campaign.display_name,
            unsubscribe_url=self._unsubscribe_url(decision.campaign, person),
        )
        context = domain.context_of(ingredients)
        try:
            parts = domain.finished(await self._engine.render(template.sources, context))
        except Invalid as error:
            return replace(decision, outcome=Outcome.FAILED, reason=error.message)
        content = Content(
            address=person.address or "",
            parts=parts,
            headers=domain.headers_of(ingredients.unsubscribe_url),
            inputs_hash=domain.hash_of(context),
            omitted=tuple(_omitted(draft, known)),
        )
        return replace(decision, model_version=advice.model_version if draft.wanted else 0, content=content)

    def _unsubscribe_url(self, campaign: Campaign, person: Person) -> str:
        if campaign.stream is not Stream.MARKETING:
            return ""
        return self._links.url(Unsubscription(person.address or "", campaign.campaign_id, person.user_id))


def _check_revision(cause: Cause, person: Person | None) -> None:
    """Unavailable where profile has not yet applied what the transition was computed from.

    An absorbed profile answers with its survivor, which counts for itself.
    """
    if person is None or person.profile_id != cause.profile_id:
        return
    if person.revision < cause.profile_revision:
        raise Unavailable(
            f"profile is at revision {person.revision}, the transition at {cause.profile_revision}"
        )


def _omitted(draft: _Draft, known: _Known) -> Iterator[str]:
    if not draft.person.is_personalizable:
        yield f"segments: {_DENIED}"
    if draft.decision.campaign.recommendations and not draft.wanted:
        yield f"recommendations: {_DENIED}"
    elif draft.wanted and known.advice is None:
        yield "recommendations: recommend did not answer in time"
