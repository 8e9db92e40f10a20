"""Streaming, rebuilding and a model by brute force agree on random lives, in any order and batching."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from copy import deepcopy
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.expressions import Series
from services.segment.definitions.model import SegmentDefinition
from services.segment.membership.model import (
    ExitReason,
    Membership,
    Plan,
    State,
    TrackedSeries,
    TrackedTrait,
    Transition,
    TransitionKind,
    needed_series,
    needed_traits,
)
from services.segment.membership.use_cases import Follower
from services.segment.triggers.model import TriggerDefinition
from tests.model.definitions import SEGMENTS, TRIGGERS
from tests.model.following import Change, Followed, Step
from tests.model.lives import Lives
from tests.model.trying import assert_tried
from tests.unit.segment.fakes import FakeHistories, FakeStates
from tests.unit.segment.telling import by_profile, essence, update_of

PARTITIONS = 2


def plan_of(
    version: int, segments: Sequence[SegmentDefinition], triggers: Sequence[TriggerDefinition]
) -> Plan:
    needed = needed_series(segments, triggers)
    tracked = [TrackedSeries(n, s, keep, version) for n, (s, keep) in enumerate(needed.items())]
    return Plan(version, segments, triggers, tracked)


def definitions() -> tuple[list[SegmentDefinition], list[TriggerDefinition]]:
    return (
        [SegmentDefinition(id_, "", s.text, 1, 1) for id_, s in SEGMENTS.items()],
        [
            TriggerDefinition(id_, "", t.name, tuple(t.unless), t.delay, t.text, 1, 1, t.created)
            for id_, t in TRIGGERS.items()
        ],
    )


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch here has few people: even so it shall be taken in portions."""
    monkeypatch.setattr("services.segment.membership.use_cases.ADVANCED_AT_ONCE", 3)


class World:
    """A stream in two partitions, and those who follow it: the product and the model."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.lives = Lives(random)
        self.states = FakeStates(PARTITIONS)
        self.histories = FakeHistories(self.lives.histories, update_of)
        self.plan = plan_of(1, *definitions())
        self.model = Followed(SEGMENTS, TRIGGERS)
        self.transitions: list[Transition] = []
        self.tried: Counter[str] = Counter()
        self._queues: list[list[Step | int]] = [[] for _ in range(PARTITIONS)]

    def live(self) -> None:
        """Something happens, or is told the time, or is handled."""
        choice = self.random.random()
        if choice < 0.55:
            self.lives.pause()
            for step in self.lives.step():
                self._queues[self.states.index_of(step.profile_id)].append(step)
        elif choice < 0.7:
            self.tell_time()

    def tell_time(self) -> None:
        self.lives.pause()
        for queue in self._queues:
            queue.append(self.lives.now)

    def lose(self) -> None:
        """A record is buried: its successor shows a gap."""
        queue = self.random.choice(self._queues)
        if queue and not isinstance(queue[0], int):
            del queue[0]

    async def handle(self, whole: bool = False) -> None:
        """A batch of some of what waits; product and model must do the same."""
        steps: list[Step] = []
        clocks: dict[int, int] = {}
        for index, queue in enumerate(self._queues):
            count = len(queue) if whole else self.random.randint(0, len(queue))
            for record in queue[:count]:
                if isinstance(record, int):
                    clocks[index] = record
                else:
                    steps.append(record)
            del queue[:count]
        before = dict(self.states.clock_of)
        now = before | clocks
        follower = Follower(self.plan, self.states, self.histories, self.states.index_of)
        followed = await follower.follow(by_profile(map(update_of, steps)), clocks)
        self.transitions += followed.transitions
        changes, fired = self.model.batch(
            steps,
            self.lives.histories,
            lambda id_: (before.get(self.states.index_of(id_), 0), now.get(self.states.index_of(id_), 0)),
        )
        self._compare([*changes, *fired], followed.transitions)
        self.tried["triggered"] += len(fired)
        self.tried["entered"] += sum(c.kind == "entered" for c in changes)
        self.tried["old entries"] += sum(c.kind == "entered" and not c.when.exact for c in changes)
        self.tried["left by time"] += sum(
            c.kind == "exited" and c.when.exact and c.when.time in now.values() for c in changes
        )

    def _compare(self, changes: Sequence[Change], transitions: Sequence[Transition]) -> None:
        expected, actual = defaultdict(list), defaultdict(list)
        for change in changes:
            # Whoever of two people comes first acts: which one is chance.
            person = "" if change.kind == "triggered" else change.profile_id
            expected[person, change.definition_id].append(change)
        for transition in transitions:
            person = "" if transition.kind is TransitionKind.TRIGGERED else transition.profile_id
            actual[person, transition.definition_id].append(transition)

        assert expected.keys() == actual.keys()
        for pair, wanted in expected.items():
            found = actual[pair]
            if not pair[0]:
                wanted = sorted(wanted, key=lambda c: c.when.event_id or b"")
                found = sorted(found, key=lambda t: t.event_id)
            assert [c.kind for c in wanted] == [t.kind.value for t in found]
            for change, transition in zip(wanted, found, strict=True):
                assert change.when.allows(transition.time), (change, transition)
                if change.kind != "exited" and change.when.exact:
                    assert change.when.event_id == transition.event_id

    def assert_equal_to_rebuild(self) -> None:
        """State by state, streaming has come to what the whole history gives."""
        for profile_id, streamed in self.states.all().items():
            history = self.lives.histories[profile_id]
            clock = self.states.clock_of.get(self.states.index_of(profile_id), 0)
            if streamed.revision < history[-1].revision or not clock:
                continue
            rebuilt = State(profile_id)
            for step in history:
                self.plan.apply(rebuilt, update_of(step), set())
            streamed = deepcopy(streamed)
            for state in (streamed, rebuilt):
                self.plan.advance(state, clock, clock)

            assert rebuilt.revision == streamed.revision
            assert essence(rebuilt) == essence(streamed)
            self.tried["rebuilds compared"] += 1


async def _live(seed: int) -> World:
    world = World(Random(seed))
    for _ in range(world.random.randint(10, 70)):
        world.live()
        if world.random.random() < 0.02:
            world.lose()
        if world.random.random() < 0.4:
            await world.handle()
    world.tell_time()
    await world.handle(whole=True)
    world.assert_equal_to_rebuild()
    return world


SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck))


def test_streaming_equals_rebuild_equals_model() -> None:
    """Incremental = rebuild, with each entry, exit and trigger at its true time."""
    tried: Counter[str] = Counter()

    @settings(SETTINGS, max_examples=150)
    @given(st.integers(0, 2**63))
    def check(seed: int) -> None:
        world = asyncio.run(_live(seed))
        tried.update(world.tried + world.lives.tried)
        tried["gap"] += world.model.rebuilt

    check()

    wanted = (
        "merge",
        "late",
        "gap",
        "triggered",
        "entered",
        "old entries",
        "left by time",
        "rebuilds compared",
    )
    assert_tried(tried, *wanted, least=20)


class Changing(World):
    """A world in which definitions come, go and change while everything moves."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.rules: dict[str, str] = {}
        self.defined: dict[str, SegmentDefinition] = {}
        self.triggers: dict[str, TriggerDefinition] = {}
        self.tracked: dict[Series, TrackedSeries] = {}
        self.traits: dict[str, TrackedTrait] = {}
        self.model = Followed({}, {})
        self.plan = Plan(0, [], [], [])

    def define(self) -> None:
        """Segments and triggers change, one or two at once; their plan is compiled as it is stored."""
        version = self.plan.version + 1
        for _ in range(self.random.randint(1, 2)):
            id_, rule = self.random.choice(["one", "two", "three"]), self.random.choice(list(SEGMENTS))
            self.tried["redefined"] += id_ in self.rules
            self.rules.pop(id_, None)
            self.defined.pop(id_, None)
            if self.random.random() < 0.8:
                self.rules[id_] = rule
                self.defined[id_] = SegmentDefinition(id_, "", SEGMENTS[rule].text, version, version)
        trigger_id = self.random.choice(list(TRIGGERS))
        if self.triggers.pop(trigger_id, None) is None:
            t = TRIGGERS[trigger_id]
            self.triggers[trigger_id] = TriggerDefinition(
                trigger_id, "", t.name, tuple(t.unless), t.delay, t.text, version, version, self.lives.now
            )
        self._compile(version)

    def _compile(self, version: int) -> None:
        segments, triggers = list(self.defined.values()), list(self.triggers.values())
        needed = needed_series(segments, triggers, self.tracked)
        self.tracked = {series: t for series, t in self.tracked.items() if series in needed}
        for series, keep in needed.items():
            old = self.tracked.get(series)
            if old is None:
                self.tracked[series] = TrackedSeries(self.random.getrandbits(31), series, keep, version)
            elif old.keep < keep:
                self.tracked[series] = TrackedSeries(old.series_id, series, keep, version)
        names = needed_traits(segments, triggers)
        self.traits = {name: self.traits.get(name) or TrackedTrait(name, version) for name in names}
        self.plan = Plan(version, segments, triggers, list(self.tracked.values()), list(self.traits.values()))

    def _compare(self, changes: Sequence[Change], transitions: Sequence[Transition]) -> None:
        """When which portion is brought up to date is chance: the end is compared instead."""

    async def catch_up(self, limit: int) -> bool:
        follower = Follower(self.plan, self.states, self.histories, self.states.index_of)
        followed = await follower.catch_up(range(PARTITIONS), limit)
        if followed is not None:
            self.transitions += followed.transitions
        return followed is not None

    def assert_right_in_the_end(self) -> None:
        """Members are who they must be, and the transitions tell of each change once."""
        self.model.segments = {id_: SEGMENTS[rule] for id_, rule in self.rules.items()}
        members: dict[tuple[str, str], Membership] = {}
        for t in self.transitions:
            pair = t.profile_id, t.definition_id
            if t.kind is TransitionKind.ENTERED:
                assert pair not in members, t
                members[pair] = Membership(t.time, t.cause_id, t.event_id)
            elif t.kind is TransitionKind.EXITED:
                assert members.pop(pair).entered <= t.time
        effects = [
            (t.definition_id, t.cause_id) for t in self.transitions if t.kind is TransitionKind.TRIGGERED
        ]

        assert len(set(effects)) == len(effects)
        told = {(id_, s): m for id_, state in self.states.all().items() for s, m in state.memberships.items()}
        assert told == members
        for profile_id, state in self.states.all().items():
            clock = self.states.clock_of[self.states.index_of(profile_id)]
            assert self.model.members(profile_id, clock) == state.memberships.keys()
        self.tried["triggered"] += len(effects)
        self.tried["by definition"] += sum(t.exit_reason is ExitReason.DEFINITION for t in self.transitions)


def test_a_backfill_meets_the_stream_for_any_changes_of_definitions() -> None:
    tried: Counter[str] = Counter()

    async def live(seed: int) -> Changing:
        world = Changing(Random(seed))
        for _ in range(world.random.randint(10, 60)):
            world.live()
            if world.random.random() < 0.1:
                world.define()
            if world.random.random() < 0.4:
                await world.handle()
            if world.random.random() < 0.4:
                tried["portions"] += await world.catch_up(1)
        world.tell_time()
        await world.handle(whole=True)
        while await world.catch_up(2):
            pass
        world.assert_equal_to_rebuild()
        world.assert_right_in_the_end()
        return world

    @settings(SETTINGS, max_examples=150)
    @given(st.integers(0, 2**63))
    def check(seed: int) -> None:
        world = asyncio.run(live(seed))
        tried.update(world.tried + world.lives.tried)
        tried["rebuilt"] += world.histories.read_count

    check()

    wanted = ("merge", "late", "triggered", "redefined", "portions", "rebuilt", "by definition")
    assert_tried(tried, *wanted, least=20)
