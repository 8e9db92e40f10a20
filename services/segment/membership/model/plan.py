"""All definitions together, and how they move a person's state."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from libs.expressions import Feature, Series, parse_rule
from services.segment.definitions.model import SegmentDefinition
from services.segment.membership.model.features import Features, Located
from services.segment.membership.model.readers import CONSENT, Key, Readers
from services.segment.membership.model.series import SeriesState
from services.segment.membership.model.since import Moment, SingleRule
from services.segment.membership.model.state import (
    ExitReason,
    Membership,
    Occurrence,
    State,
    Transition,
    TransitionKind,
    Update,
    is_trusted,
    set_fact,
)
from services.segment.membership.model.tracking import (
    ALL_TRAITS,
    LATE,
    Collector,
    TrackedSeries,
    TrackedTrait,
    needed_traits,
    series_that_counts,
)
from services.segment.membership.model.waits import Wait
from services.segment.model import SECOND
from services.segment.triggers.model import TriggerDefinition

# So many window ends are gone through at once; the rest stay due.
_MOST_STEPS = 1000


class Plan:
    """All definitions, compiled."""

    def __init__(
        self,
        version: int,
        segments: Sequence[SegmentDefinition],
        triggers: Sequence[TriggerDefinition],
        tracked: Sequence[TrackedSeries],
        traits: Sequence[TrackedTrait] | None = None,
    ) -> None:
        """`traits` may be left out where no state is of an older plan."""
        self.version = version
        self.versions = {s.segment_id: s.version for s in segments} | {
            t.trigger_id: t.version for t in triggers
        }
        self._tracked = {t.series_id: t for t in tracked}
        self._keeps = {t.series_id: t.keep for t in tracked}
        self._ids = {t.series: t.series_id for t in tracked}
        self._collector = Collector(tracked)
        if traits is None:
            traits = [TrackedTrait(name, 0) for name in needed_traits(segments, triggers)]
        self._traits = frozenset(t.name for t in traits)
        self._keeps_all_traits = ALL_TRAITS in self._traits
        # A state of an older plan than this lacks what only the whole history tells.
        self._kept_since = max([t.since for t in tracked] + [t.since for t in traits], default=0)
        rules = {s.segment_id: parse_rule(s.expression) for s in segments}
        self._plans = {s.segment_id: s.plan for s in segments}
        self._segments = frozenset(rules)
        self._readers = Readers(rules, self._located)
        self._windows = self._readers.windows
        self._waits = [Wait.of(trigger, self._ids) for trigger in triggers]
        self._starts = frozenset(t.event_name for t in triggers)
        self._withdrawing = [wait for wait in self._waits if wait.trigger.withdraws]
        self._answered = frozenset(
            name for t in triggers if t.withdraws for name in (t.event_name, *t.unless)
        )
        conditions = {t.trigger_id: parse_rule(t.condition) for t in triggers if t.condition}
        self._parsed = rules
        self._alone: dict[str, SingleRule] = {}
        self._conditions = {id_: SingleRule(r, self._located(r.features)) for id_, r in conditions.items()}

    def _located(self, features: Iterable[Feature]) -> Features:
        located = []
        for f in features:
            series_id = self._ids[self._kept(f.series)]
            window = None if f.window is None else f.window * SECOND
            located.append(Located(series_id, f.aggregate, window, self._tracked[series_id].keep))
        return Features(located)

    def _kept(self, series: Series) -> Series:
        """Where the events of a series are: it may be another that counts them."""
        return series if series in self._ids else series_that_counts(series, self._ids) or series

    def lacks(self, state: State) -> bool:
        """Whether a state of an older plan lacks something that only the whole history tells.

        That is a series, a trait, or the properties of an event that waits for a trigger that is new.
        """
        if state.plan >= self.version or not state.revision or state.merged_into is not None:
            return False
        if state.plan < self._kept_since:
            return True
        waits = (wait for wait in self._waits if wait.trigger.plan > state.plan)
        return any(
            event_id not in state.waiting
            for wait in waits
            for _, event_id, _ in wait.over(state, max(wait.trigger.since, state.as_of - LATE))
        )

    # ---- taking updates in

    def apply(self, state: State, update: Update, touched: set[Key]) -> None:
        """Let one step of the profile's life change its state; nothing is evaluated yet.

        What rules may read of the change is added to `touched`.
        """
        if not state.revision:
            state.plan = self.version
        state.revision = update.revision
        state.open = update.more
        state.changed = True
        if update.merged_into is not None:
            state.close(update.merged_into)
            return
        for occurrence in update.occurrences:
            self._record(state, occurrence, touched)
        if update.moved:
            return
        for name, fact in update.traits:
            if self._keeps_all_traits or name in self._traits:
                set_fact(state.traits, name, fact)
                touched.add(name)
        if update.consent:
            touched.add(CONSENT)
            for purpose, fact in update.consent:
                set_fact(state.consent, purpose, fact)

    def _record(self, state: State, occurrence: Occurrence, touched: set[Key]) -> None:
        """Let an event be one of the person's."""
        time, event_id = occurrence.time, occurrence.event_id
        first = state.first
        if first is None or time < first[0] or (time == first[0] and event_id < first[1]):
            state.first = time, event_id, is_trusted(occurrence.origin)
        found = self._collector.series_of(occurrence)
        if found is None:
            return
        fold_at, window_end, as_of = state.fold_at, state.window_end, state.as_of
        for series_id, number in found:
            series = state.series.get(series_id)
            if series is None:
                series = state.series[series_id] = SeriesState()
            series.add(time, event_id, occurrence.origin, number)
            # When it will next change something by itself.
            folds = time + self._keeps[series_id]
            if fold_at is None or folds < fold_at:
                fold_at = folds
            for window in self._windows.get(series_id, ()):
                end = time + window
                if end > as_of and (window_end is None or end < window_end):
                    window_end = end
        state.fold_at, state.window_end = fold_at, window_end
        touched.add(tuple([series_id for series_id, _ in found]))
        state.news.append(occurrence)
        if occurrence.name in self._starts:
            state.waiting[event_id] = occurrence.properties

    # ---- letting time pass

    def advance(
        self, state: State, now: int, arrival: int = 0, touched: Collection[Key] | None = None
    ) -> list[Transition]:
        """Bring a state to `now`; returns what happened, in order for each definition.

        `arrival` is the clock at which its news came, 0 where there was none yet; `touched` is all that
        the news changed, None where that is not known. It may be left before `now`, and due again at
        once, where very much happens on the way.
        """
        if state.is_undecided:
            # Who is read on in portions is taken up again at once.
            state.due = 0 if state.behind else None
            return []
        if state.merged_into is not None:
            return self._close(state, now)
        since = state.as_of or arrival or now
        now = max(now, since)
        start = reached = max(since, arrival) if state.changed else since
        is_older = state.plan < self.version
        if is_older:
            # What an older plan foresaw does not count.
            touched, state.fold_at, state.window_end = None, start, since
        self._fold(state, start)
        known = self._known(state.plan)
        transitions: list[Transition] = []
        if state.changed:
            transitions = self._evaluate(state, reached, known, touched, came=True)
        end = self._window_end(state, reached)
        for _ in range(_MOST_STEPS):
            if end is None or end > now:
                reached = now
                break
            transitions += self._evaluate(state, end, known, self._leaving(state, end))
            reached = end
            end = self._window_end(state, reached)
        if self._waits:
            transitions += self._triggered(state, since, start, reached)
            transitions += self._withdrawn(state, reached)
        if is_older and reached == now:
            transitions += self._redefine(state, now, known)
            self._adopt(state)
        self._settle(state, reached)
        return transitions

    def _close(self, state: State, now: int) -> list[Transition]:
        state.plan, state.due, state.changed = self.version, None, False
        state.as_of = max(now, state.as_of)
        reason = ExitReason.MERGED if state.merged_into else ExitReason.RULE
        return [_left(state, segment_id, now, reason) for segment_id in sorted(state.memberships)]

    def _known(self, plan: int) -> frozenset[str]:
        """The segments that are as they were in an older plan."""
        if plan >= self.version:
            return self._segments
        return frozenset(segment_id for segment_id, since in self._plans.items() if since <= plan)

    def _redefine(self, state: State, now: int, known: frozenset[str]) -> list[Transition]:
        """Decide on what is new, changed or gone since the plan that the state is of."""
        others = (self._segments | state.memberships.keys()) - known
        return self._evaluate(state, now, others, None, reason=ExitReason.DEFINITION)

    def _adopt(self, state: State) -> None:
        """Note that a state is of this plan, and drop what only older ones read."""
        state.plan = self.version
        state.drop_series(state.series.keys() - self._tracked.keys())
        if not self._keeps_all_traits:
            for name in state.traits.keys() - self._traits:
                del state.traits[name]

    def _settle(self, state: State, now: int) -> None:
        """Note that time has passed, and drop what nothing will ask for again.

        Time alone may next change something when a window ends or a wait is over.
        """
        state.as_of = now
        state.changed = False
        state.news.clear()
        self._fold(state, now)
        state.due = state.window_end
        if self._waits or state.waiting:
            waits = [over for wait in self._waits for over in wait.over(state, now)]
            waiting = {event_id for _, event_id, _ in waits}
            state.waiting = {event_id: p for event_id, p in state.waiting.items() if event_id in waiting}
            dues = [due for due, *_ in waits]
            state.due = min(dues if state.due is None else [*dues, state.due], default=None)

    def _fold(self, state: State, now: int) -> None:
        if state.fold_at is None or state.fold_at > now:
            return
        state.fold_at = None
        for series_id, series in state.series.items():
            tracked = self._tracked.get(series_id)
            if tracked is None or not series.times:
                continue
            fold_at = series.oldest + tracked.keep
            if fold_at <= now:
                series.fold(now - tracked.keep)
                if not series.times:
                    continue
                fold_at = series.oldest + tracked.keep
            if state.fold_at is None or fold_at < state.fold_at:
                state.fold_at = fold_at

    def _window_end(self, state: State, after: int) -> int | None:
        """When the next event leaves one of the windows; looked for only where the last one found is past."""
        if state.window_end is not None and state.window_end <= after:
            state.window_end = min(self._window_ends(state, after), default=None)
        return state.window_end

    def _window_ends(self, state: State, after: int) -> Iterator[int]:
        for series_id, series in state.series.items():
            if not series.times:
                continue
            oldest, newest = series.oldest, series.newest
            for window in self._windows.get(series_id, ()):
                if oldest > after - window:
                    yield oldest + window
                elif newest > after - window:
                    yield series.time_at(series.first_after(after - window)) + window

    def _leaving(self, state: State, end: int) -> list[Key]:
        """The series of which an event leaves a window at a time."""
        return [
            (series_id,)
            for series_id, series in state.series.items()
            if any(series.has_at(end - window) for window in self._windows.get(series_id, ()))
        ]

    # ---- triggers

    def _triggered(self, state: State, since: int, start: int, now: int) -> list[Transition]:
        """The waits that are over by now, and were not when time last passed."""
        news = [o for o in state.news if o.name in self._starts]
        return [t for wait in self._waits for t in self._over(state, wait, since, start - LATE, now, news)]

    def _over(
        self, state: State, wait: Wait, since: int, oldest: int, now: int, news: Sequence[Occurrence]
    ) -> Iterable[Transition]:
        trigger = wait.trigger
        if trigger.plan > state.plan:
            # While its plan was not taken up, nobody watched.
            since = min(since, trigger.since)
        came = {o.event_id: o.time for o in news if o.name == trigger.event_name}
        late = min(came.values(), default=since) + trigger.delay - 1
        for due, event_id, origin in wait.over(state, max(min(since, late), oldest, trigger.since)):
            if due > now:
                break
            if (due > since or event_id in came) and self._condition_holds(state, trigger, due):
                yield Transition(
                    state.profile_id,
                    state.revision,
                    TransitionKind.TRIGGERED,
                    trigger.trigger_id,
                    due,
                    event_id,
                    event_id,
                    state.waiting.get(event_id, b""),
                    trigger.event_name,
                    trusted=is_trusted(origin),
                )

    def _withdrawn(self, state: State, now: int) -> Iterable[Transition]:
        """What answers take back, where it has happened at all: whoever keeps the effects knows that."""
        news = [o for o in state.news if o.name in self._answered] if self._withdrawing else []
        if not news:
            return
        for wait in self._withdrawing:
            trigger = wait.trigger
            starts = {o.event_id for o in news if o.name == trigger.event_name}
            answers = {o.event_id for o in news if o.name in trigger.unless}
            for cause_id, time, event_id, origin in wait.taken_back(state, starts, answers, now):
                properties, name = _told_of(news, event_id)
                yield Transition(
                    state.profile_id,
                    state.revision,
                    TransitionKind.WITHDRAWN,
                    trigger.trigger_id,
                    time,
                    cause_id,
                    event_id,
                    properties,
                    name,
                    trusted=is_trusted(origin),
                )

    def _condition_holds(self, state: State, trigger: TriggerDefinition, due: int) -> bool:
        condition = self._conditions.get(trigger.trigger_id)
        return condition is None or condition.holds(state, due, due)

    # ---- memberships

    def _evaluate(
        self,
        state: State,
        now: int,
        among: Collection[str],
        touched: Collection[Key] | None,
        came: bool = False,
        reason: ExitReason = ExitReason.RULE,
    ) -> list[Transition]:
        """Enter and leave some segments; what came decides its time, and otherwise it is now.

        Only those are asked whose rules read something of `touched`, all where that is None.
        """
        asked, held = self._readers.holding(state, now, touched)
        members = state.memberships
        # What is asked of all concerns also what is no segment any more.
        left = [
            id_ for id_ in members if id_ in among and id_ not in held and (touched is None or id_ in asked)
        ]
        if came and not state.as_of and touched is not None:
            # Somebody new: what nothing has touched is as it is for anybody.
            held = {*held, *(self._readers.by_default - asked)}
        new = [id_ for id_ in held if id_ in among and id_ not in members]
        exits = [self._leave(state, id_, now, reason, came) for id_ in sorted(left)]
        return exits + [self._enter(state, id_, now) for id_ in sorted(new)]

    def _leave(self, state: State, segment_id: str, now: int, reason: ExitReason, came: bool) -> Transition:
        if reason is ExitReason.DEFINITION or segment_id not in self._segments:
            return _left(state, segment_id, now, reason)
        rule = self._single(segment_id)
        if not came:
            return _left(state, segment_id, now, reason, rule.newest_is_trusted(state))
        moment = rule.since(state, now, held=False)
        return _left(state, segment_id, moment.time, reason, moment.trusted)

    def _single(self, segment_id: str) -> SingleRule:
        """A segment's rule by itself, compiled when it is first asked for."""
        found = self._alone.get(segment_id)
        if found is None:
            rule = self._parsed[segment_id]
            found = self._alone[segment_id] = SingleRule(rule, self._located(rule.features))
        return found

    def _enter(self, state: State, segment_id: str, now: int) -> Transition:
        moment: Moment = self._single(segment_id).since(state, now, held=True)
        state.memberships[segment_id] = Membership(moment.time, moment.cause_id, moment.event_id)
        properties, name = _told_of(state.news, moment.event_id)
        return Transition(
            state.profile_id,
            state.revision,
            TransitionKind.ENTERED,
            segment_id,
            moment.time,
            moment.cause_id,
            moment.event_id,
            properties,
            name,
            trusted=moment.trusted,
        )


def _left(state: State, segment_id: str, time: int, reason: ExitReason, trusted: bool = False) -> Transition:
    membership = state.memberships.pop(segment_id)
    return Transition(
        state.profile_id,
        state.revision,
        TransitionKind.EXITED,
        segment_id,
        max(time, membership.entered),
        membership.cause_id,
        exit_reason=reason,
        trusted=trusted,
    )


def _told_of(news: Iterable[Occurrence], event_id: bytes) -> tuple[bytes, str]:
    """The properties and the name of an event, where it is at hand."""
    return next(((o.properties, o.name) for o in news if o.event_id == event_id), (b"", ""))
