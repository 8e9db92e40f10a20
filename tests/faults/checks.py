"""What must be true when a run is over, whatever was killed: each check tells its problems in words."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from cli.clients import Clients
from libs.messaging import offsets
from libs.messaging.topics import INGEST_EVENTS
from libs.times import micros
from tessera.ingest.v1 import ingest_events_pb2
from tessera.render.v1 import message_pb2
from tessera.segment.v1 import segment_events_pb2
from tessera.segment.v1.segment_events_pb2 import TransitionOccurred
from tests.faults import reading, shop
from tests.faults.load import Load
from tests.faults.system import System
from tests.integration.messaging.harness import until
from tests.model import SECOND, Event, Person, Trigger, assert_fired, assert_members, assert_people, persons
from tests.model.identity import people

_APPLIED_SECONDS = 240
_MOST_TOLD = 5
# What decides on consent is when profile was told; the load knows when it was answered.
_SLACK = 60_000_000
_ENTERED = segment_events_pb2.TRANSITION_KIND_ENTERED
_EXITED = segment_events_pb2.TRANSITION_KIND_EXITED
_TRIGGERED = segment_events_pb2.TRANSITION_KIND_TRIGGERED
_STARTS = {definition: campaign for campaign, definition in shop.CAMPAIGNS.items()}


@dataclass
class Findings:
    """What was read back, beside what was sent."""

    events: list[Event]
    """Acknowledged, and those of which nobody heard that are stored."""
    histories: reading.Histories
    known: dict[str, Person]
    triggers: Mapping[str, Trigger]
    early: reading.Members
    """While the short windows were open."""
    late: reading.Members = field(default_factory=lambda: reading.Members({}, 0, 0))
    transitions: list[TransitionOccurred] = field(default_factory=list)
    messages: list[message_pb2.Message] = field(default_factory=list)
    decisions: list[message_pb2.Message] = field(default_factory=list)
    dead_letters: int = 0
    compared: Counter[str] = field(default_factory=Counter)
    """How much the checks had to say something about."""


async def gather(system: System, load: Load, triggers: Mapping[str, Trigger]) -> Findings:
    """Wait until everything has had its effects, and read it all back."""
    async with system.clients() as clients:
        await _until_applied(system, time.time())
        histories = await reading.read_histories(clients)
        stored = {event.event_id for event in histories.events}
        events = load.acknowledged() + [event for event in load.unheard() if event.event_id in stored]
        # Beside the loop, which carries the networks of the system.
        known = await asyncio.to_thread(_persons, events, histories)
        ids = [profile.profile_id for profile in histories.profiles]
        early = await reading.read_members(system, clients, ids)
        found = Findings(events, histories, known, triggers, early)
        await _until_quiet(system)
        await _read_effects(system, clients, found)
        return found


def _persons(events: Sequence[Event], histories: reading.Histories) -> dict[str, Person]:
    """The people by profile; what only the histories know is for the first check to tell."""
    sent = {event.event_id for event in events}
    return persons(events, [p for p in histories.profiles if sent.issuperset(p.event_ids)])


async def _until_applied(system: System, at: float) -> None:
    """Wait until all that was acknowledged by then is in the histories, with all that follows."""
    async with system.admin() as connection:

        async def applied() -> bool:
            topic, count = INGEST_EVENTS.name, 8
            return (await offsets.read_through(connection, "profile", topic, count) or 0) >= at * SECOND

        await until(applied, _APPLIED_SECONDS, "that profile has applied everything")
    await system.drain()


async def _until_quiet(system: System) -> None:
    """Wait until no window that a rule looks through can end any more, and no wait."""
    end = time.time() + shop.LONGEST_WINDOW + shop.LONGEST_DELAY

    async def passed() -> bool:
        return (await reading.clocks(system))[0] >= end * SECOND

    await until(passed, _APPLIED_SECONDS, "that time has passed in segment")
    await system.drain()


async def _read_effects(system: System, clients: Clients, found: Findings) -> None:
    ids = {p.profile_id for p in found.histories.profiles}
    found.transitions = await reading.read_transitions(system)
    ids |= {t.profile_id for t in found.transitions}
    found.late = await reading.read_members(system, clients, ids)
    found.decisions = await reading.read_decisions(clients)
    found.messages = await reading.read_messages(system)
    found.dead_letters = await reading.dead_letters(system)


def stored_once(found: Findings) -> None:
    """Every acknowledged event is in one history, once, as it was sent; nothing else is."""
    problems = list(found.histories.problems)
    stored = Counter(event.event_id for event in found.histories.events)
    sent = {event.event_id: event for event in found.events}
    problems += [f"lost: {e.message_id}" for e in found.events if e.event_id not in stored]
    problems += [f"stored {n} times: {sent.get(i, i)}" for i, n in stored.items() if n > 1]
    problems += [f"never sent: {i.hex()}" for i in stored.keys() - sent.keys()]
    problems += [
        f"changed: {event}" for event in found.histories.events
        if event.event_id in sent and not _is_as_sent(event, sent[event.event_id])
    ]  # fmt: skip
    found.compared["events"] = len(found.events)

    assert [] == problems[:_MOST_TOLD], f"{len(problems)} problems"


def _is_as_sent(stored: ingest_events_pb2.EventCollected, sent: Event) -> bool:
    identifiers = (stored.user_id, stored.email, stored.anonymous_id)
    said = orjson.loads(stored.traits_json or b"{}")
    return (
        identifiers == (sent.user_id, sent.email, sent.anonymous_id)
        and (stored.name, micros(stored.event_time)) == (sent.name, sent.time)
        and orjson.loads(stored.properties_json or b"{}") == dict(sent.properties)
        and said == dict(sent.traits)
        and dict(stored.consent) == dict(sent.consent)
    )


def as_the_model_says(found: Findings) -> None:
    """Who is who, traits and consent are the model's."""
    found.compared += assert_people(
        found.events, found.histories.profiles, found.histories.unassigned, slack=_SLACK
    )

    assert found.compared["limited"] == 0, "the load meets no limit of identity"
    assert any(len(p.user_ids) == 1 and len(p.identifiers) > 2 for p in found.known.values()), "no merge"


def members_are_the_model_s(found: Findings) -> None:
    """Memberships are the model's, while the short windows were open and when they had closed."""
    for members in (found.early, found.late):
        of = {profile_id: members.of.get(profile_id, set()) for profile_id in found.known}
        assert_members(found.known, shop.SEGMENTS, of, members.at, members.until)
        found.compared["memberships"] += sum(map(len, of.values()))
    dead = found.late.of.keys() - found.known.keys()

    assert set() == dead, "absorbed profiles are in segments"


def triggers_are_the_model_s(found: Findings) -> None:
    """Triggers fired that had to, or might, each once and at its second."""
    fired = [(t.definition_id, t.cause_id, micros(t.time)) for t in found.transitions if t.kind == _TRIGGERED]
    counts = assert_fired(found.known, found.triggers, fired, found.late.at, found.late.until)
    found.compared += counts

    assert counts["must"] > counts["may"], f"the model leaves too much open: {counts}"


def transitions_lead_to_memberships(found: Findings) -> None:
    """On the log each person enters and leaves a segment in turn, ending where they are now."""
    inside: defaultdict[str, set[str]] = defaultdict(set)
    problems = []
    for t in found.transitions:
        members = inside[t.profile_id]
        if t.kind == _ENTERED:
            if t.definition_id in members:
                problems.append(f"entered twice: {t}")
            members.add(t.definition_id)
        elif t.kind == _EXITED:
            if t.definition_id not in members:
                problems.append(f"left without being in it: {t}")
            members.discard(t.definition_id)
            if t.definition_id == "repeat-buyers" and t.exit_reason == segment_events_pb2.EXIT_REASON_RULE:
                problems.append(f"left what nobody leaves: {t}")
    now = {profile_id: members for profile_id, members in inside.items() if members}
    problems += [
        f"{i}: {now.get(i, set())} by transitions, {found.late.of.get(i, set())} by membership"
        for i in now.keys() | found.late.of.keys()
        if now.get(i, set()) != found.late.of.get(i, set())
    ]
    found.compared["transitions"] = len(found.transitions)

    assert [] == problems[:_MOST_TOLD], f"{len(problems)} problems"
    assert found.dead_letters == 0


def messages_follow_once(found: Findings) -> None:
    """Each entry and trigger that starts a campaign is decided once; each message is on the log once."""
    starts = {
        (_STARTS[t.definition_id], t.cause_id)
        for t in found.transitions
        if t.kind in (_ENTERED, _TRIGGERED) and t.definition_id in _STARTS
    }
    decided = Counter((d.campaign_id, d.cause_id) for d in found.decisions)
    outcomes = Counter(message_pb2.Outcome.Name(d.outcome) for d in found.decisions)
    rendered = {d.message_id for d in found.decisions if d.outcome == message_pb2.OUTCOME_RENDERED}
    on_log = Counter(message.message_id for message in found.messages)
    found.compared["messages"] = len(on_log)

    assert set() == starts - decided.keys(), "never decided"
    assert set() == decided.keys() - starts, "decided without a cause"
    assert [] == [effect for effect, times in decided.items() if times > 1], "decided twice"
    assert set() == rendered - on_log.keys(), "not on the log"
    assert set() == on_log.keys() - rendered, "on the log without a decision"
    assert [] == [message_id for message_id, times in on_log.items() if times > 1], "on the log twice"
    assert [] == [d for d in found.decisions if not _may_be(d)][:_MOST_TOLD], outcomes
    assert [] == _missing(found, rendered)[:_MOST_TOLD], "people who had to get mail"


def _may_be(decision: message_pb2.Message) -> bool:
    """Whether the outcome is one that this load can have."""
    if decision.outcome == message_pb2.OUTCOME_MISSED:
        age = micros(decision.create_time) - micros(decision.cause_time)
        return age > shop.MOST_AGE_SECONDS * SECOND
    return decision.outcome in (message_pb2.OUTCOME_RENDERED, message_pb2.OUTCOME_SUPPRESSED)


def _missing(found: Findings, rendered: set[str]) -> list[str]:
    """Triggers of people who had an address and had consented, all before it was due, and no message."""
    mailed = {(d.campaign_id, d.cause_id) for d in found.decisions if d.message_id in rendered}
    missing = []
    for t in found.transitions:
        if t.kind != _TRIGGERED or _STARTS.get(t.definition_id) is None or t.profile_id not in found.known:
            continue
        due = micros(t.time)
        before = [e for e in found.known[t.profile_id].events if e.received < due]
        then = next((p for p in people(before) if t.cause_id in {e.event_id for e in p.events}), None)
        said = [e.consent for e in found.known[t.profile_id].events if e.consent]
        always = said and all(consent["email_marketing"] for consent in said)
        if then is None or not always or not any(e.consent for e in then.events):
            continue
        if any(i.startswith("e:") for i in then.identifiers):
            found.compared["mailed for certain"] += 1
            if (_STARTS[t.definition_id], t.cause_id) not in mailed:
                missing.append(f"no mail: {t}")
    return missing


CHECKS: dict[str, Callable[[Findings], None]] = {
    "history": stored_once,
    "people": as_the_model_says,
    "memberships": members_are_the_model_s,
    "triggers": triggers_are_the_model_s,
    "transitions": transitions_lead_to_memberships,
    "messages": messages_follow_once,
}


def failures(found: Findings) -> dict[str, str]:
    """What each check that failed says."""
    said = {}
    for name, check in CHECKS.items():
        try:
            check(found)
        except AssertionError as error:
            said[name] = str(error)[:4000]
    return said
