"""The values of features at a time."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.segment.membership.model.series import SeriesState
from services.segment.membership.model.state import State
from services.segment.membership.model.tracking import Number

_NOTHING = SeriesState()


@dataclass(frozen=True, slots=True)
class Located:
    """A feature, by where a state keeps its series."""

    series_id: int
    aggregate: str
    window: int | None
    """Microseconds; None for all time."""
    keep: int


def series_in(state: State, series_id: int) -> SeriesState:
    """The series, empty where nothing of it happened."""
    return state.series.get(series_id, _NOTHING)


class Features:
    """Some features, ready to be valued together."""

    def __init__(self, located: Iterable[Located]) -> None:
        self.located = tuple(located)
        # Most people have nothing of most series: what that gives is known beforehand.
        self._without = {place: _value_of(_NOTHING, f, 0) for place, f in enumerate(self.located)}
        self._of: dict[int, list[int]] = defaultdict(list)
        for place, feature in enumerate(self.located):
            self._of[feature.series_id].append(place)

    def values(self, state: State, at: int, until: int | None = None) -> "_Values":
        """What the features are at a time; with `until`, of the events up to then only."""
        known = state.series
        values = _Values(self._without, self.located, known, at, until)
        for series_id in self._of.keys() & known.keys() if len(self._of) < len(known) else known:
            for place in self._of.get(series_id, ()):
                del values[place]
        return values


class _Values(dict[int, Number]):
    """Values by the places of features; what is not known yet is worked out when it is first asked for."""

    __slots__ = ("_at", "_located", "_series", "_until")

    def __init__(
        self,
        known: Mapping[int, Number],
        located: Sequence[Located],
        series: Mapping[int, SeriesState],
        at: int,
        until: int | None,
    ) -> None:
        super().__init__(known)
        self._located, self._series, self._at, self._until = located, series, at, until

    def __missing__(self, place: int) -> Number:
        feature = self._located[place]
        value = self[place] = _value_of(self._series[feature.series_id], feature, self._at, self._until)
        return value


def _value_of(series: SeriesState, feature: Located, at: int, until: int | None = None) -> Number:
    """A feature's value at a time; with `until`, of the events up to then only."""
    aggregate, window = feature.aggregate, feature.window
    first = 0 if window is None else series.first_after(at - window)
    last = len(series) if until is None else series.first_after(until)
    # Totals of older events belong to what has no window alone.
    whole = window is None
    if aggregate == "count":
        return max(0, last - first) + (series.count if whole else 0)
    if series.division is not None:
        return _of_many(series, feature, first, last)
    numbers = series.numbers_of(first, last)
    if aggregate in ("sum", "avg"):
        total = math.fsum([*numbers, *series.sum] if whole else numbers)
        count = len(numbers) + (series.numbered if whole else 0)
        return total if aggregate == "sum" else total / count if count else None
    bound = series.least if aggregate == "min" else series.greatest
    if whole and bound is not None:
        numbers.append(bound)
    return (min if aggregate == "min" else max)(numbers, default=None)


def _of_many(series: SeriesState, feature: Located, first: int, last: int) -> Number:
    """The same of a divided series, whose parts are summed up beforehand."""
    aggregate, whole = feature.aggregate, feature.window is None
    numbers = series.summed(first, last)
    if aggregate in ("sum", "avg"):
        total = math.fsum([*numbers.terms, *series.sum] if whole else numbers.terms)
        count = numbers.count + (series.numbered if whole else 0)
        return total if aggregate == "sum" else total / count if count else None
    if aggregate == "min":
        bounds = [numbers.least, series.least] if whole else [numbers.least]
        return min((bound for bound in bounds if bound is not None), default=None)
    bounds = [numbers.greatest, series.greatest] if whole else [numbers.greatest]
    return max((bound for bound in bounds if bound is not None), default=None)
