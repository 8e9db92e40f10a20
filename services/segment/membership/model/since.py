"""Since when a rule has held, or has not."""

import hashlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from libs.expressions import Rule, RuleSet
from services.segment.membership.model.features import Features, series_in
from services.segment.membership.model.series import SeriesState
from services.segment.membership.model.state import Fact, State, is_trusted, values_at
from services.segment.membership.model.tracking import ALL_TRAITS

# Far more than what changes for a person in a day; who has more has at least held for so long.
_MOST_MOMENTS = 1000


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, the cause of what changed then, the event where it was one, and whether it is trusted."""

    time: int
    cause_id: bytes
    event_id: bytes
    trusted: bool


# At equal times the event with the greatest id decides, and an event before the end of a window.
_LEFT, _CAME = 0, 1
_Change = tuple[int, int, bytes, bool]


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
        for number, (time, kind, event_id, trusted) in enumerate(self._changes(state, now)):
            if horizon is not None and time < horizon:
                break
            # The clock runs a little behind: an event may be later than `now`, whose windows count.
            if number == _MOST_MOMENTS or self.holds(state, min(time, now), time) is not held:
                return start or self._by_time(b"now", state, now)
            if kind == _CAME:
                start = Moment(time, event_id, event_id, trusted)
            else:
                start = Moment(time, _digest(b"left", event_id), b"", self.newest_is_trusted(state))
        if start is not None and (horizon is None or start.time > horizon):
            before = start.time - 1
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

    def newest_is_trusted(self, state: State) -> bool:
        """Whether the newest of all that the rule looks at is trusted; False where there is nothing."""
        newest: list[_Change] = list(map(_came, self._read(state)))
        for f in self._features.located:
            series = series_in(state, f.series_id)
            if len(series):
                newest.append(next(_changes_of(series, len(series), _CAME)))
        return max(newest)[3] if newest else False

    def _read(self, state: State) -> list[Fact]:
        read = [fact for name, fact in state.traits.items() if self._rule.traits & {name, ALL_TRAITS}]
        if self._rule.uses_consent:
            read += state.consent.values()
        return read

    def _changes(self, state: State, now: int) -> Iterator[_Change]:
        """When something that the rule reads changed, latest first."""
        changes: list[Iterator[_Change]] = []
        for f in self._features.located:
            series = series_in(state, f.series_id)
            changes.append(_changes_of(series, len(series), _CAME))
            if f.window is not None:
                changes.append(_changes_of(series, series.first_after(now - f.window), _LEFT, f.window))
        changes.append(iter(sorted(map(_came, self._read(state)), reverse=True)))
        for _, same_time in groupby(heapq.merge(*changes, reverse=True), key=lambda change: change[0]):
            yield next(same_time)

    def _since_ever(self, state: State, now: int, horizon: int | None) -> Moment:
        """It has been so as far back as is known."""
        if horizon is not None:
            return self._by_time(b"old", state, horizon)
        if state.first is not None:
            time, event_id, trusted = state.first
            return Moment(time, event_id, event_id, trusted)
        return self._by_time(b"now", state, now)

    def _by_time(self, word: bytes, state: State, time: int) -> Moment:
        """What no event is known to have caused."""
        cause_id = _digest(word, state.profile_id.encode(), str(time).encode())
        return Moment(time, cause_id, b"", self.newest_is_trusted(state))


def _changes_of(series: SeriesState, count: int, kind: int, later: int = 0) -> Iterator[_Change]:
    """The first `count` events, each so much later than it was, latest first."""
    for index in range(count - 1, -1, -1):
        yield series.time_at(index) + later, kind, series.id_at(index), is_trusted(series.origins[index])


def _came(fact: Fact) -> _Change:
    return fact.time, _CAME, fact.event_id, fact.trusted


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).digest()
