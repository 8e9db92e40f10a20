"""Generated histories through the whole pipeline: streaming equals a rebuild equals the model, on both logs.

TESSERA_HISTORIES says how many are tried over each log: a few in `make test`, thousands in a long run.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.segment.definitions.model import SegmentDefinition
from services.segment.triggers.model import TriggerDefinition
from tests import model
from tests.integration.messaging.harness import running
from tests.integration.pipeline.harness import Pipeline, open_pipeline
from tests.integration.pipeline.keeping import let_time_pass, lose, states_of, timers_of
from tests.model.definitions import SEGMENTS, TRIGGERS, TYPES
from tests.model.histories import arrivals, histories, of_their_own, tried
from tests.model.lives import START
from tests.unit.segment.telling import essence

_GIVEN = os.environ.get("TESSERA_HISTORIES")
# Each takes longer over Kafka, where every answer goes through a relay and a broker.
_EXAMPLES = {log: int(_GIVEN or few) for log, few in {"postgres": 12, "kafka": 8}.items()}
_SECONDS = 30
_PAUSES = [0, 0, 0, 10, model.SECOND, 60 * model.SECOND, model.HOUR, 7 * model.HOUR, model.DAY]
_AHEAD = 180 * model.SECOND
_SEGMENTS = SEGMENTS | TYPES
# Some in which people are seldom mixed up, so that who is who is certain, and some in which they often are.
_HISTORIES = histories(15, 40, mixed=0.03, browsers=0.03) | histories(15, 40, mixed=0.25, browsers=0.1)


class World:
    """A pipeline in which one history after another happens, each to people of its own."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.tried: Counter[str] = Counter()
        self._pipeline = pipeline
        self._number = 0
        self._triggers: dict[str, model.Trigger] = {}

    async def define(self) -> None:
        for id_, segment in _SEGMENTS.items():
            await self._pipeline.segments.insert(SegmentDefinition(id_, "", segment.text), "")
        for id_, t in TRIGGERS.items():
            wanted = TriggerDefinition(id_, "", t.name, tuple(t.unless), t.delay, t.text)
            stored = await self._pipeline.triggers.insert(wanted, "")
            self._triggers[id_] = replace(t, created=stored.created)
        await self._pipeline.settled()

    async def happen(self, events: Sequence[model.Event], seed: int) -> None:
        """Let a history arrive; compare what it led to with the model, and with a rebuild."""
        self._number += 1
        others = set(await self._pipeline.profile_ids())
        sent = await self._arrive([of_their_own(event, self._number) for event in events], seed)
        # Nothing that happened lies ahead of the clock any more.
        self._pipeline.clock.pass_by(_AHEAD)
        at = await self._pipeline.settled()
        own = {event.event_id for event in sent}
        read = await self._pipeline.profiles(sorted(set(await self._pipeline.profile_ids()) - others))
        told = [(p, absorbed) for p, absorbed in read if not own.isdisjoint(p.event_ids)]
        profiles = [profile for profile, _ in told]

        unassigned = own & await self._pipeline.unassigned()
        self.tried.update(model.assert_people(sent, profiles, unassigned))
        known = model.persons(sent, profiles)
        await self._compare(known, at)
        await self._rebuild(known, sent)
        assert 0 == await self._pipeline.dead_letters()
        self.tried.update(tried(sent))
        self.tried["merges"] += sum(absorbed for _, absorbed in told)

    async def _arrive(self, events: Sequence[model.Event], seed: int) -> list[model.Event]:
        """Send events in any order and batching; returns them as they were acknowledged."""
        rng = random.Random(seed)
        clock = self._pipeline.clock
        timed: dict[str, model.Event] = {}
        sent: list[model.Event] = []
        for arrival in arrivals(events, rng, _PAUSES):
            clock.pass_by(arrival.pause)
            now = clock.now()
            batch = [timed.setdefault(e.message_id, replace(e, time=now + e.time)) for e in arrival.events]
            received = await self._pipeline.send(batch)
            sent += [replace(event, received=received) for event in batch]
            if rng.random() < 0.3:
                # Only profiles that are stored already can be absorbed.
                await self._pipeline.settled()
        return sent

    async def _compare(self, known: dict[str, model.Person], at: int) -> None:
        """Memberships and triggers are the model's."""
        members = await self._pipeline.members(sorted(known))
        until = self._pipeline.clock.now()
        own = {event.event_id for person in known.values() for event in person.events}
        fired = [effect for effect in self._pipeline.fired() if effect[1] in own]

        model.assert_members(known, _SEGMENTS, members, at, until)
        self.tried.update(model.assert_fired(known, self._triggers, fired, at, until))
        self.tried["memberships"] += sum(map(len, members.values()))

    async def _rebuild(self, known: dict[str, model.Person], sent: list[model.Event]) -> None:
        """What segment has lost comes back from the histories as it was."""
        pipeline = self._pipeline
        named = {id_: person for id_, person in known.items() if person.identifiers}
        ids = sorted(named)
        streamed = await states_of(pipeline, ids)
        timers = await timers_of(pipeline, ids)
        await lose(pipeline, ids)
        touches = [_touch(person, pipeline.clock.now()) for person in named.values()]
        received = await pipeline.send(touches)
        at = await pipeline.settled()
        for person, touch in zip(named.values(), touches, strict=True):
            person.events.append(replace(touch, received=received))
        rebuilt = await states_of(pipeline, ids)
        now = pipeline.clock.now()
        rebuilt_timers = await timers_of(pipeline, ids)
        await let_time_pass(pipeline, [*streamed.values(), *rebuilt.values()], now)

        assert set(ids) == streamed.keys() == rebuilt.keys()
        assert timers == rebuilt_timers
        for id_ in ids:
            assert streamed[id_].revision + 1 == rebuilt[id_].revision
            assert essence(streamed[id_]) == essence(rebuilt[id_])
        await self._compare(known, at)
        self.tried["rebuilt"] += len(ids)


def _touch(person: model.Person, now: int) -> model.Event:
    """Something that no rule asks for happens to somebody."""
    identifier = min(person.identifiers, key=lambda i: "uape".index(i[0]))
    kind = {"u": "user_id", "a": "anonymous_id", "p": "phone", "e": "email"}[identifier[0]]
    return model.Event(f"touch {identifier} {now}", now, name="Touched", **{kind: identifier[2:]})  # type: ignore[arg-type]


@pytest.mark.timeout(300 + _SECONDS * max(_EXAMPLES.values()))
@pytest.mark.parametrize("log", ["postgres", "kafka"])
def test_streaming_equals_a_rebuild_equals_the_model(
    log: str, database_url: str, request: pytest.FixtureRequest
) -> None:
    servers = request.getfixturevalue("kafka") if log == "kafka" else ""
    # The loop stands still while Hypothesis draws, which suffers no other use of `random` meanwhile.
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        try:
            pipeline = runner.run(opened.enter_async_context(open_pipeline(database_url, servers, START)))
            runner.run(opened.enter_async_context(running(*pipeline.profile(), *pipeline.others())))
            world = World(pipeline)
            runner.run(world.define())

            @settings(
                max_examples=_EXAMPLES[log],
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(_HISTORIES, st.integers(0, 2**32))
            def check(events: list[model.Event], seed: int) -> None:
                runner.run(world.happen(events, seed))

            check()
        finally:
            runner.run(opened.aclose())
    wanted = ("merges", "user limits", "limited", "exact", "duplicates", "late", "equal times")
    wanted += ("type changes", "2^53 + 1", "nulls", "memberships", "must", "rebuilt")

    model.assert_tried(world.tried, *wanted)
