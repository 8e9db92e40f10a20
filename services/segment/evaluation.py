"""Computes memberships and due triggers from a person's state: the one function behind streaming,
timers, backfills and rebuilds."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from services.segment.domain import (
    DAY,
    SECOND,
    ExitReason,
    Membership,
    Occurrence,
    SegmentDefinition,
    SeriesState,
    State,
    Transition,
    TransitionKind,
    TriggerDefinition,
    Update,
)
from services.segment.rules import Feature, Rule, RuleSet, Series, compile_predicate, number_at, parse_rule

BASE_KEEP = 7 * DAY
"""Events are kept singly at least this long, so that what became true lately has its true time."""
# Far more steps than a person has in a day; whatever is left over is taken at once.
_MOST_STEPS = 1000
_NOTHING = SeriesState()

Key = tuple[str, str]
"""("segment" or "trigger", its id)."""


@dataclass(frozen=True, slots=True)
class TrackedSeries:
    """A series that the plan needs, under the number by which states keep it."""

    series_id: int
    series: Series
    keep: int
    """How long events are kept singly."""
    since: int
    """The version of the plan since which it has been tracked with this keep."""


def needed_series(
    segments: Iterable[SegmentDefinition], triggers: Iterable[TriggerDefinition]
) -> dict[Series, int]:
    """The series that definitions read, and how long each keeps its events singly."""
    keeps: dict[Series, int] = defaultdict(lambda: BASE_KEEP)
    texts = [s.expression for s in segments] + [t.condition for t in triggers if t.condition]
    for text in texts:
        for feature in parse_rule(text).features:
            window = (feature.window or 0) * SECOND
            keeps[feature.series] = max(keeps[feature.series], window)
    for trigger in triggers:
        for name in (trigger.event_name, *trigger.unless):
            series = Series(name, None, None)
            keeps[series] = max(keeps[series], trigger.delay + DAY)
    return dict(keeps)


class Plan:
    """All definitions, compiled."""

    def __init__(
        self,
        version: int,
        segments: Sequence[SegmentDefinition],
        triggers: Sequence[TriggerDefinition],
        tracked: Sequence[TrackedSeries],
    ) -> None:
        self.version = version
        self.needs_history_since = max((t.since for t in tracked), default=0)
        """A state of an older plan lacks a series."""
        self.versions = {s.segment_id: s.version for s in segments} | {
            t.trigger_id: t.version for t in triggers
        }
        self._segments = frozenset(s.segment_id for s in segments)
        self._triggers = tuple(triggers)
        self._starts = frozenset(t.event_name for t in triggers)
        self._tracked = {t.series_id: t for t in tracked}
        self._ids = {t.series: t.series_id for t in tracked}
        self._collect: dict[str, list[tuple[int, Series, Callable[[Mapping[str, Any]], bool] | None]]] = (
            defaultdict(list)
        )
        for t in tracked:
            where = None if t.series.where is None else compile_predicate(t.series.where)
            self._collect[t.series.event].append((t.series_id, t.series, where))
        self._rules: dict[Key, Rule] = {("segment", s.segment_id): parse_rule(s.expression) for s in segments}
        self._rules |= {("trigger", t.trigger_id): parse_rule(t.condition) for t in triggers if t.condition}
        self._all = RuleSet(self._rules)
        self._features = self._located(self._all.features)
        self._alone: dict[Key, tuple[RuleSet[Key], list[_Located]]] = {}

    # ---- taking updates in

    def apply(self, state: State, update: Update) -> None:
        """Let one step of the profile's life change its state; nothing is evaluated yet."""
        state.revision = update.revision
        state.open = update.more
        if update.merged_into is not None:
            state.merged_into = update.merged_into
            for kept in (state.series, state.traits, state.consent, state.news, state.waiting):
                kept.clear()
            return
        for occurrence in update.occurrences:
            self._collect_occurrence(state, occurrence)
        if update.moved:
            return
        for name, trait in update.traits:
            if trait is None:
                state.traits.pop(name, None)
            else:
                state.traits[name] = trait
        state.consent.update(update.consent)

    def _collect_occurrence(self, state: State, occurrence: Occurrence) -> None:
        wanted = self._collect.get(occurrence.name)
        if not wanted:
            return
        properties: dict[str, Any] | None = None
        for series_id, series, where in wanted:
            value = None
            if series.value is not None or where is not None:
                if properties is None:
                    properties = orjson.loads(occurrence.properties) if occurrence.properties else {}
                if where is not None and not where(properties):
                    continue
                value = None if series.value is None else number_at(properties, series.value)
            found = state.series.get(series_id)
            if found is None:
                found = state.series[series_id] = SeriesState()
            found.add((occurrence.time, occurrence.event_id, value))
        state.news.append(occurrence)
        if occurrence.name in self._starts:
            state.waiting[occurrence.event_id] = occurrence.properties

    # ---- letting time pass

    def advance(self, state: State, now: int) -> list[Transition]:
        """Bring a state to `now`; returns what happened, in order of time."""
        if state.open:
            return []
        if state.merged_into is not None:
            state.due = None
            return [_left(state, id_, now, ExitReason.MERGED) for id_ in sorted(state.memberships)]
        since = state.as_of or now
        transitions = self._triggered(state, since, now)
        for _ in range(_MOST_STEPS):
            step = self._next_due(state, since)
            if step is None or step >= now:
                break
            transitions += self._evaluate(state, step)
            since = step
        transitions += self._evaluate(state, now)
        self._settle(state, max(state.as_of, now))
        return sorted(transitions, key=lambda t: (t.time, t.definition_id))

    def _settle(self, state: State, now: int) -> None:
        """Note that time has passed, and drop what nothing will ask for again."""
        state.as_of = now
        state.news.clear()
        for series_id, series in list(state.series.items()):
            tracked = self._tracked.get(series_id)
            if tracked is None:
                del state.series[series_id]
            else:
                series.fold(now - tracked.keep)
        if state.waiting:
            waiting = {
                event_id for trigger in self._triggers for _, event_id in self._waits(state, trigger, now)
            }
            state.waiting = {event_id: p for event_id, p in state.waiting.items() if event_id in waiting}
        state.due = self._next_due(state, now)

    def _next_due(self, state: State, after: int) -> int | None:
        """The next time after `after` at which time alone may change something; None for never."""
        waits = (due for trigger in self._triggers for due, _ in self._waits(state, trigger, after))
        return min((*self._window_ends(state, after), *waits), default=None)

    def _window_ends(self, state: State, after: int) -> Iterator[int]:
        """For each windowed feature, when its next event leaves the window."""
        for series_id, _, window in self._features:
            series = state.series.get(series_id)
            if window is not None and series is not None:
                index = series.first_after(after - window)
                if index < len(series.entries):
                    yield series.entries[index][0] + window

    def _waits(self, state: State, trigger: TriggerDefinition, after: int) -> Iterator[tuple[int, bytes]]:
        """The waits that nothing ended and that are over after `after`: when, and what began each."""
        started = state.series.get(self._ids[Series(trigger.event_name, None, None)])
        if started is None:
            return
        answers = [state.series.get(self._ids[Series(name, None, None)]) for name in trigger.unless]
        entries = started.entries
        for index in range(started.first_after(after - trigger.delay), len(entries)):
            time, event_id, _ = entries[index]
            due = time + trigger.delay
            again = index + 1 < len(entries) and entries[index + 1][0] <= due
            if not again and not any(a is not None and _has_any(a, time, due) for a in answers):
                yield due, event_id

    def _triggered(self, state: State, since: int, now: int) -> list[Transition]:
        """The waits that are over by now, and were not when time last passed."""
        news = {occurrence.event_id: occurrence.time for occurrence in state.news}
        earliest = min(news.values(), default=since)
        return [
            Transition(
                state.profile_id,
                state.revision,
                TransitionKind.TRIGGERED,
                trigger.trigger_id,
                due,
                event_id,
                event_id,
                state.waiting.get(event_id, b""),
            )
            for trigger in self._triggers
            for due, event_id in self._waits(state, trigger, min(since, earliest + trigger.delay - 1))
            if due <= now and (due > since or event_id in news) and due > trigger.created
            if self._condition_holds(state, trigger, due)
        ]

    def _condition_holds(self, state: State, trigger: TriggerDefinition, now: int) -> bool:
        if not trigger.condition:
            return True
        key = ("trigger", trigger.trigger_id)
        rules, features = self._single(key)
        return bool(rules.evaluate(state.values(), state.consent, _values(state, features, now, None)))

    def _evaluate(self, state: State, now: int) -> list[Transition]:
        values = _values(state, self._features, now, None)
        holding = self._all.evaluate(state.values(), state.consent, values)
        held = {segment_id for kind, segment_id in holding if kind == "segment"}
        transitions = [self._exit(state, id_, now) for id_ in sorted(state.memberships.keys() - held)]
        return transitions + [self._enter(state, id_, now) for id_ in sorted(held - state.memberships.keys())]

    def _enter(self, state: State, segment_id: str, now: int) -> Transition:
        entered, cause_id, event_id = self._start(state, ("segment", segment_id), now)
        state.memberships[segment_id] = Membership(entered, cause_id, event_id)
        properties = next((o.properties for o in state.news if o.event_id == event_id), b"")
        return Transition(
            state.profile_id,
            state.revision,
            TransitionKind.ENTERED,
            segment_id,
            entered,
            cause_id,
            event_id,
            properties,
        )

    def _exit(self, state: State, segment_id: str, now: int) -> Transition:
        if segment_id not in self._segments:
            return _left(state, segment_id, now, ExitReason.DEFINITION)
        latest = max((occurrence.time for occurrence in state.news), default=now)
        return _left(state, segment_id, min(now, latest), ExitReason.RULE)

    # ---- since when

    def _start(self, state: State, key: Key, now: int) -> tuple[int, bytes, bytes]:
        """Since when a rule that holds now has held: (time, cause id, event id).

        Goes back through the times at which something that the rule reads changed, and asks at each
        whether it held with what had happened by then.
        """
        rules, features = self._single(key)
        start: tuple[int, bytes, bytes] | None = None
        for time, cause_id, event_id in self._moments(state, self._rules[key], features, now)[:_MOST_STEPS]:
            traits = {name: trait.value for name, trait in state.traits.items() if trait.time <= time}
            if not rules.evaluate(traits, state.consent, _values(state, features, time, time)):
                return start or self._since_ever(state, features, now)
            start = (time, cause_id, event_id)
        return self._since_ever(state, features, now)

    def _moments(
        self, state: State, rule: Rule, features: Sequence["_Located"], now: int
    ) -> list[tuple[int, bytes, bytes]]:
        """When something that the rule reads changed, latest first, and the event that did it.

        The clock runs a little behind: events may be later than `now`, windows end only up to it.
        The last is the moment before all of them.
        """
        moments: dict[int, tuple[bytes, bytes]] = {}
        for series_id, _, window in features:
            for time, event_id, _ in state.series.get(series_id, _NOTHING).entries:
                if window is not None and time + window <= now:
                    moments.setdefault(time + window, (_digest(b"left", event_id), b""))
        for name, trait in state.traits.items():
            if name in rule.traits or "*" in rule.traits:
                moments[trait.time] = (trait.event_id, trait.event_id)
        for series_id, _, _ in features:
            for time, event_id, _ in state.series.get(series_id, _NOTHING).entries:
                # At equal times the greatest id, whatever the order of arrival.
                old = moments.get(time, (b"", b""))[1]
                moments[time] = (max(old, event_id),) * 2
        found = [(time, *moments[time]) for time in sorted(moments, reverse=True)]
        return [*found, (found[-1][0] - 1, b"", b"")] if found else []

    def _since_ever(self, state: State, features: Sequence["_Located"], now: int) -> tuple[int, bytes, bytes]:
        """The rule holds as far back as is known: since the oldest, or since the person is known."""
        if any(state.series.get(series_id, _NOTHING).count for series_id, _, _ in features):
            keep = min(self._tracked[series_id].keep for series_id, _, _ in features)
            return now - keep, _digest(b"old", state.profile_id.encode()), b""
        first = min(state.news, key=lambda o: (o.time, o.event_id), default=None)
        if first is not None:
            return first.time, first.event_id, first.event_id
        return now, _digest(b"now", state.profile_id.encode(), str(now).encode()), b""

    # ---- features

    def _located(self, features: Iterable[Feature]) -> list["_Located"]:
        return [
            (self._ids[f.series], f.aggregate, None if f.window is None else f.window * SECOND)
            for f in features
        ]

    def _single(self, key: Key) -> tuple[RuleSet[Key], list["_Located"]]:
        found = self._alone.get(key)
        if found is None:
            rules = RuleSet({key: self._rules[key]})
            found = self._alone[key] = (rules, self._located(rules.features))
        return found


_Located = tuple[int, str, int | None]
"""A feature: the number of its series, its aggregate, its window in microseconds."""


def _left(state: State, segment_id: str, time: int, reason: ExitReason) -> Transition:
    membership = state.memberships.pop(segment_id)
    return Transition(
        state.profile_id,
        state.revision,
        TransitionKind.EXITED,
        segment_id,
        max(time, membership.entered),
        membership.cause_id,
        exit_reason=reason,
    )


def _has_any(series: SeriesState, first: int, last: int) -> bool:
    index = series.first_after(first - 1)
    return index < len(series.entries) and series.entries[index][0] <= last


def _values(
    state: State, features: Iterable[_Located], now: int, until: int | None
) -> list[int | float | None]:
    """The features' values at `now`; with `until`, of the events up to then only."""
    return [
        _value(
            state.series.get(series_id, _NOTHING), aggregate, None if window is None else now - window, until
        )
        for series_id, aggregate, window in features
    ]


def _value(series: SeriesState, aggregate: str, after: int | None, until: int | None) -> int | float | None:
    first = 0 if after is None else series.first_after(after)
    last = len(series.entries) if until is None else series.first_after(until)
    # Totals of older events belong to what has no window alone.
    whole = after is None
    if aggregate == "count":
        return max(0, last - first) + (series.count if whole else 0)
    numbers = [entry[2] for entry in series.entries[first:last] if entry[2] is not None]
    if aggregate in ("sum", "avg"):
        total = math.fsum([*numbers, *(series.sum if whole else ())])
        count = len(numbers) + (series.numbers if whole else 0)
        return total if aggregate == "sum" else total / count if count else None
    bound = series.least if aggregate == "min" else series.greatest
    if whole and bound is not None:
        numbers.append(bound)
    return (min if aggregate == "min" else max)(numbers, default=None)


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()
