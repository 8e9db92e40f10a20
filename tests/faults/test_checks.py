"""The checks notice what they are there for: a run that was read back well, and then something is wrong."""

import copy
import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from libs.times import timestamp
from tessera.ingest.v1 import ingest_events_pb2
from tessera.render.v1 import message_pb2
from tessera.segment.v1 import segment_events_pb2
from tests.faults import checks, logs, run, shop
from tests.faults.checks import Findings
from tests.faults.reading import Histories, Members
from tests.faults.run import Hit
from tests.model import SECOND, Event, Person, Profile, due_triggers, members, people, persons

ENTERED = segment_events_pb2.TRANSITION_KIND_ENTERED
TRIGGERED = segment_events_pb2.TRANSITION_KIND_TRIGGERED


def _events() -> list[Event]:
    made = shop.Shop(random.Random(3), "shop")
    events = [event for _ in range(150) for event in made.batch()]
    return [replace(event, received=event.time + SECOND // 100) for event in events]


def _collected(event: Event) -> ingest_events_pb2.EventCollected:
    return ingest_events_pb2.EventCollected(
        event_id=event.event_id,
        name=event.name,
        user_id=event.user_id,
        email=event.email,
        anonymous_id=event.anonymous_id,
        event_time=timestamp(event.time),
        properties_json=orjson.dumps(dict(event.properties)),
        traits_json=orjson.dumps(dict(event.traits)),
        consent=event.consent,
    )


def _profile(person: Person) -> Profile:
    ids = [event.event_id for event in person.events]
    return Profile(str(uuid.uuid4()), set(person.identifiers), ids, person.traits, person.consent)


def _transition(profile_id: str, kind: int, definition_id: str, time: int, cause: bytes) -> object:
    return segment_events_pb2.TransitionOccurred(
        profile_id=profile_id,
        kind=kind,  # type: ignore[arg-type]
        definition_id=definition_id,
        time=timestamp(time),
        cause_id=cause,
    )


@pytest.fixture(scope="module")
def flawless() -> Findings:
    """What is read back when nothing is wrong."""
    events = _events()
    at = max(event.time for event in events) + 20 * SECOND
    profiles = [_profile(person) for person in people(events)]
    known = persons(events, profiles)
    triggers = shop.triggers(dict.fromkeys(shop.TRIGGERS, 1))
    of = {i: held for i, person in known.items() if (held := members(person.facts, shop.SEGMENTS, at))}
    found = Findings(
        events,
        Histories(profiles, [_collected(event) for event in events]),
        known,
        triggers,
        early=Members(of, at, at),
        late=Members(of, at, at),
    )
    entered = [(i, ENTERED, segment, at, uuid.uuid4().bytes) for i, held in of.items() for segment in held]
    fired = [
        (profile_id, TRIGGERED, due.trigger_id, due.time, due.cause.event_id)
        for profile_id, person in known.items()
        for due in due_triggers([person], triggers, at)
    ]
    found.transitions = [_transition(*values) for values in entered + fired]  # type: ignore[misc]
    campaigns = {definition: campaign for campaign, definition in shop.CAMPAIGNS.items()}
    found.decisions = [
        message_pb2.Message(
            message_id=str(uuid.uuid4()),
            campaign_id=campaigns[definition],
            cause_id=cause,
            outcome=message_pb2.OUTCOME_RENDERED,
        )
        for _, _, definition, _, cause in entered + fired
        if definition in campaigns
    ]
    found.messages = list(found.decisions)
    return found


def test_where_nothing_is_wrong_no_check_fails(flawless: Findings) -> None:
    found = copy.deepcopy(flawless)

    assert {} == checks.failures(found)
    assert found.compared["mailed for certain"] > 0
    assert found.compared["must"] > 20


def _trait(found: Findings) -> None:
    found.histories.profiles[0].traits = {"plan": "silver"}


def _leave_unnoticed(found: Findings) -> None:
    found.late.of.popitem()


def _triggers(found: Findings) -> list[int]:
    return [index for index, t in enumerate(found.transitions) if t.kind == TRIGGERED]


def _suppress_all(found: Findings) -> None:
    for decision in found.decisions:
        decision.outcome = message_pb2.OUTCOME_SUPPRESSED
    found.messages.clear()


WRONG: dict[str, tuple[str, Callable[[Findings], object]]] = {
    "an event is lost": ("history", lambda f: f.histories.events.pop()),
    "an event is stored twice": ("history", lambda f: f.histories.events.append(f.histories.events[0])),
    "an event was never sent": ("history", lambda f: f.events.pop()),
    "an event is not as it was sent": ("history", lambda f: setattr(f.histories.events[0], "name", "Other")),
    "a revision is missing": ("history", lambda f: f.histories.problems.append("revisions [1, 3]")),
    "a trait is another": ("people", _trait),
    "an event is somebody else's": (
        "people",
        lambda f: f.histories.profiles[0].event_ids.append(f.histories.profiles[1].event_ids.pop()),  # type: ignore[attr-defined]
    ),
    "a membership is missing": ("memberships", _leave_unnoticed),
    "a membership has no entry": ("transitions", lambda f: f.transitions.pop(0)),
    "an entry is told twice": ("transitions", lambda f: f.transitions.append(f.transitions[0])),
    "a record is in the dead letters": ("transitions", lambda f: setattr(f, "dead_letters", 1)),
    "a trigger did not fire": ("triggers", lambda f: f.transitions.pop(_triggers(f)[0])),
    "a trigger fired twice": ("triggers", lambda f: f.transitions.append(f.transitions[_triggers(f)[0]])),
    "a cause was not decided": ("messages", lambda f: f.decisions.pop()),
    "a cause was decided twice": ("messages", lambda f: f.decisions.append(f.decisions[0])),
    "a message is not on the log": ("messages", lambda f: f.messages.pop()),
    "a message is on the log twice": ("messages", lambda f: f.messages.append(f.messages[0])),
    "nobody gets mail": ("messages", _suppress_all),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_noticed(flawless: Findings, wrong: str) -> None:
    check, spoil = WRONG[wrong]
    found = copy.deepcopy(flawless)
    spoil(found)

    assert check in checks.failures(found)


def _hit(**values: object) -> Hit:
    usual = {"kind": "x", "at": 100.0, "back": 105.0, "ready": 106.0, "before": 9, "in_flight": 3, "after": 9}
    return Hit(**{**usual, "proof": "", **values})  # type: ignore[arg-type]


def test_what_was_late_or_idle_is_told() -> None:
    assert {} == run.late_or_idle([_hit()])
    assert {"ready"} == run.late_or_idle([_hit(ready=115.5)]).keys()
    assert {"load"} == run.late_or_idle([_hit(in_flight=0)]).keys()
    assert {"load"} == run.late_or_idle([_hit(before=0)]).keys()
    assert {"load"} == run.late_or_idle([_hit(after=0)]).keys()


def _line(second: float, event: str, level: str = "warning") -> bytes:
    time = f"1970-01-01T00:01:{40 + second:09.6f}Z"
    return orjson.dumps({"timestamp": time, "level": level, "service": "render", "event": event}) + b"\n"


def test_a_flood_is_told_and_so_is_who_ended_by_himself(tmp_path: Path) -> None:
    quiet, loud, alike = tmp_path / "quiet", tmp_path / "loud", tmp_path / "alike"
    quiet.write_bytes(b"".join(_line(n / 10, "decided", "info") for n in range(60)))
    loud.write_bytes(b"".join(_line(n / 50, f"{n} and {'x' * (n % 29)}", "info") for n in range(250)))
    alike.write_bytes(b"".join(_line(n / 10, f"again in {n} s") for n in range(31)))
    ended = tmp_path / "ended"
    ended.write_bytes(_line(1, "render ended with code 1: started again in 0.2 s"))

    assert [] == logs.floods([quiet], [_hit()])[0]
    assert ["x: 42 lines a second"] == logs.floods([loud], [_hit()])[0]
    assert "31 times" in logs.floods([alike], [_hit()])[0][0]
    assert [] == logs.ended_by_themselves([quiet, loud, alike], since=0)
    assert 1 == len(logs.ended_by_themselves([ended], since=0))
    assert [] == logs.ended_by_themselves([ended], since=102)
