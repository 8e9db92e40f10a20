"""Since when a rule has held, or has not."""

import hashlib
import heapq
from collections.abc import Iterator
from itertools import groupby

from libs.expressions import Rule, RuleSet
from services.segment.domain import Fact, SeriesState, State, values_at
from services.segment.evaluation.features import Features, series_in

# Far more than what changes for a person in a day; who has more has at least held for so long.
_MOST_MOMENTS = 1000

Moment = tuple[int, bytes, bytes]
"""A time, the cause of what changed then, and the event, where it was one."""
# At equal times the event with the greatest id decides, and an event before the end of a window.
_LEFT, _CAME = 0, 1
_Change = tuple[int, int, bytes]


class SingleRule:
    """One rule by itself, asked about times past."""

    def __init__(self, rule: Rule, features: Features) -> None:
        self._rule = rule
        self._rules = RuleSet({"": rule})
        self._features = features

    def holds(self, state: State, at: int, until: int) -> bool:
        """Whether it held at a time, with what had happened by `until`."""
        values = self._features.values(state, at, until)
        return bool(
            self._rules.evaluate(values_at(state.traits, until), values_at(state.consent, until), values)
        )

    def since(self, state: State, now: int, held: bool) -> Moment:
        """Since when it is as it is now, which is `held`.

        Goes back through the times at which something that the rule reads changed, and asks at each
        how it was with what had happened by then.
        """
        horizon = self._horizon(state, now)
        start: Moment | None = None
        for number, (time, kind, event_id) in enumerate(self._changes(state, now)):
            if horizon is not None and time < horizon:
                break
            # The clock runs a little behind: an event may be later than `now`, whose windows count.
            if number == _MOST_MOMENTS or self.holds(state, min(time, now), time) is not held:
                return start or (now, *_named(b"now", state, now))
            cause_id = event_id if kind == _CAME else _digest(b"left", event_id)
            start = time, cause_id, event_id if kind == _CAME else b""
        if start is not None and (horizon is None or start[0] > horizon):
            before = start[0] - 1
            if self.holds(state, min(before, now), before) is not held:
                return start
        return self._since_ever(state, now, horizon)

    def _horizon(self, state: State, now: int) -> int | None:
        """The earliest time that the events kept singly tell of; None where they all are."""
        horizons = (
            now - f.keep + (f.window or 0)
            for f in self._features.located
            if series_in(state, f.series_id).count
        )
        return max(horizons, default=None)

    def _changes(self, state: State, now: int) -> Iterator[_Change]:
        """When something that the rule reads changed, latest first."""
        changes: list[Iterator[_Change]] = []
        for f in self._features.located:
            series = series_in(state, f.series_id)
            changes.append(_changes_of(series, len(series), _CAME))
            if f.window is not None:
                changes.append(_changes_of(series, series.first_after(now - f.window), _LEFT, f.window))
        read = [fact for name, fact in state.traits.items() if self._rule.traits & {name, "*"}]
        if self._rule.uses_consent:
            read += state.consent.values()
        changes.append(iter(sorted(map(_came, read), reverse=True)))
        for _, same_time in groupby(heapq.merge(*changes, reverse=True), key=lambda change: change[0]):
            yield next(same_time)

    def _since_ever(self, state: State, now: int, horizon: int | None) -> Moment:
        """It has been so as far back as is known."""
        if horizon is not None:
            return horizon, *_named(b"old", state, horizon)
        if state.first is not None:
            return state.first[0], state.first[1], state.first[1]
        return now, *_named(b"now", state, now)


def _changes_of(series: SeriesState, count: int, kind: int, later: int = 0) -> Iterator[_Change]:
    """The first `count` events, each so much later than it was, latest first."""
    for index in range(count - 1, -1, -1):
        yield series.time_at(index) + later, kind, series.id_at(index)


def _came(fact: Fact) -> _Change:
    return fact.time, _CAME, fact.event_id


def _named(word: bytes, state: State, time: int) -> tuple[bytes, bytes]:
    """The cause of what no event is known to have caused."""
    return _digest(word, state.profile_id.encode(), str(time).encode()), b""


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()
