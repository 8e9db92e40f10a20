"""Decides, for each entry and trigger that starts a campaign, whether there is a message."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from libs.errors import Invalid, Unavailable
from libs.unsubscribe import Links
from services.render.campaigns.model import Campaign
from services.render.deciding import model
from services.render.deciding.model import Advice, Ingredients, Wish, Withdrawal
from services.render.deciding.ports import Engine, Neighbours, Storage
from services.render.delivery.model import Cause, Content, Decision, Outcome, headers_of
from services.render.engine.model.parts import finished
from services.render.library.model import Template
from services.render.model import MICROS
from services.render.model.people import Person, Stream

# So many decisions share one question to each neighbour.
_GROUP = 200
_DENIED = "analytics or personalization is denied"
_ANSWERED = "what it waited for has happened since"


@dataclass(frozen=True, slots=True)
class _Draft:
    """A decision on the way to its message."""

    decision: Decision
    person: Person

    @property
    def wanted(self) -> int:
        """How many recommendations the template gets."""
        return self.decision.campaign.recommendations if self.person.is_analysable else 0

    @property
    def wish(self) -> Wish:
        """What is to be recommended: nothing of what the mail is about."""
        return Wish(self.person.profile_id, self.wanted, model.products_in(self.decision.cause.event))


@dataclass(frozen=True, slots=True)
class _Known:
    """What the neighbours say of a group's people, and the templates of its campaigns."""

    segments: Mapping[str, Sequence[str]]
    advice: Mapping[str, Advice] | None
    """By message; None where recommend did not answer soon."""
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

    async def decide(self, storage: Storage, causes: Sequence[Cause]) -> list[Decision]:
        """Decide a batch inside its transaction; returns what nobody had decided before.

        Unavailable, with nothing stored, where profile or segment can't be asked.
        """
        await storage.messages.wait_for_others()
        campaigns = await storage.campaigns.all()
        now = int(self._clock() * MICROS)
        made: list[Decision] = []
        timely: list[Decision] = []
        for cause in causes:
            for campaign in model.matching(campaigns, cause):
                decision = _at_once(campaign, cause, now)
                (timely if decision.outcome is Outcome.RENDERED else made).append(decision)
        for start in range(0, len(timely), _GROUP):
            made += await self._decide_group(storage, timely[start : start + _GROUP])
        return await storage.messages.store(made) if made else []

    async def withdraw(self, storage: Storage, withdrawals: Sequence[Withdrawal]) -> int:
        """Withdraw what waits for a connector because of causes that no longer stand; returns how many."""
        causes = {(one.definition_id, one.cause_id) for one in withdrawals}
        return await storage.messages.withdraw(causes, _ANSWERED) if causes else 0

    async def _decide_group(self, storage: Storage, group: Sequence[Decision]) -> list[Decision]:
        known = await storage.messages.decided([decision.message_id for decision in group])
        fresh = [decision for decision in group if decision.message_id not in known]
        if not fresh:
            return []
        people = await self._neighbours.people({decision.cause.profile_id for decision in fresh})
        undecided: list[Decision] = []
        drafts: list[_Draft] = []
        for decision in fresh:
            person = people.get(decision.cause.profile_id)
            if person is not None and person.unreadable:
                undecided.append(replace(decision, outcome=Outcome.FAILED, reason=person.unreadable))
                continue
            _check_revision(decision.cause, person)
            reason = model.suppressed_because(decision.campaign, person)
            if person is None or reason is not None:
                undecided.append(replace(decision, outcome=Outcome.SUPPRESSED, reason=reason or ""))
            else:
                drafts.append(_Draft(replace(decision, profile_revision=person.revision), person))
        return undecided + await self._render_all(storage, drafts)

    async def _render_all(self, storage: Storage, drafts: Sequence[_Draft]) -> list[Decision]:
        if not drafts:
            return []
        needed = sorted({draft.decision.campaign.template_id for draft in drafts})
        templates = {template_id: await storage.templates.newest(template_id) for template_id in needed}
        segments, advice = await asyncio.gather(self._segments(drafts), self._advice(drafts))
        known = _Known(segments, advice, templates)
        return await asyncio.gather(*(self._render(draft, known) for draft in drafts))

    async def _segments(self, drafts: Sequence[_Draft]) -> Mapping[str, Sequence[str]]:
        asked = {draft.person.profile_id for draft in drafts if draft.person.is_personalizable}
        return await self._neighbours.segments(asked) if asked else {}

    async def _advice(self, drafts: Sequence[_Draft]) -> Mapping[str, Advice] | None:
        """Recommendations are an ingredient: mail does not wait for them longer than a moment."""
        asked = [draft for draft in drafts if draft.wanted]
        if not asked:
            return {}
        try:
            advice = await self._neighbours.advice([draft.wish for draft in asked])
        except Unavailable:
            return None
        return {draft.decision.message_id: found for draft, found in zip(asked, advice, strict=True)}

    async def _render(self, draft: _Draft, known: _Known) -> Decision:
        decision, person = draft.decision, draft.person
        template = known.templates[decision.campaign.template_id]
        if template is None:
            return replace(decision, outcome=Outcome.FAILED, reason="the template does not exist")
        decision = replace(decision, template_version=template.version)
        advice = (known.advice or {}).get(decision.message_id, Advice())
        ingredients = Ingredients(
            person,
            segments=known.segments.get(person.profile_id, ()),
            advice=advice,
            event=decision.cause.event,
            campaign_id=decision.campaign.campaign_id,
            campaign_name=decision.campaign.display_name,
            unsubscribe_url=self._unsubscribe_url(decision, person),
        )
        try:
            context = model.context_of(ingredients)
            parts = finished(await self._engine.render(template.sources, context))
        except Invalid as error:
            return replace(decision, outcome=Outcome.FAILED, reason=error.message)
        return replace(
            decision,
            address=person.address or "",
            model_version=advice.model_version if draft.wanted else 0,
            inputs_hash=model.hash_of(context),
            omitted=tuple(_omitted(draft, known)),
            content=Content(
                parts=parts,
                headers=headers_of(ingredients.unsubscribe_url),
                event=model.remembered_event(decision.cause.event),
            ),
        )

    def _unsubscribe_url(self, decision: Decision, person: Person) -> str:
        if decision.campaign.stream is not Stream.MARKETING:
            return ""
        campaign_id = decision.campaign.campaign_id
        return self._links.url(person.profile_id, decision.message_id, campaign_id)


def _at_once(campaign: Campaign, cause: Cause, now: int) -> Decision:
    """What can be decided without asking anybody; RENDERED where it can't."""
    missed = model.missed_because(campaign, cause, now)
    if missed is not None:
        return Decision(campaign, cause, Outcome.MISSED, now, missed)
    distrusted = model.distrusted_because(campaign, cause)
    if distrusted is not None:
        return Decision(campaign, cause, Outcome.SUPPRESSED, now, distrusted)
    return Decision(campaign, cause, Outcome.RENDERED, now)


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
