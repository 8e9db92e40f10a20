"""The values of features at a time."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from services.segment.domain import SeriesState, State
from services.segment.evaluation.series import Number

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
        self._without = [0 if f.aggregate == "count" else _value(_NOTHING, f, 0, 0) for f in self.located]
        self._of: dict[int, list[tuple[int, Located]]] = defaultdict(list)
        for place, feature in enumerate(self.located):
            self._of[feature.series_id].append((place, feature))

    def values(self, state: State, at: int, until: int | None = None) -> list[Number]:
        """What the features are at a time; with `until`, of the events up to then only."""
        values = list(self._without)
        known = state.series
        for series_id in self._of.keys() & known.keys() if len(self._of) < len(known) else known:
            series = known[series_id]
            firsts: dict[int, int] = {}
            entries = series.entries
            last = len(entries)
            if until is not None and entries and entries[-1][0] > until:
                last = series.first_after(until)
            for place, feature in self._of.get(series_id, ()):
                first = 0
                window = feature.window
                if window is not None and entries and entries[0][0] <= at - window:
                    first = firsts.get(window, -1)
                    if first < 0:
                        first = firsts[window] = series.first_after(at - window)
                if feature.aggregate == "count":
                    # Most features are: not worth a call each.
                    values[place] = max(0, last - first) + (series.count if window is None else 0)
                else:
                    values[place] = _value(series, feature, first, last)
        return values


def _value(series: SeriesState, feature: Located, first: int, last: int) -> Number:
    """The value, of another aggregate than the count, over the entries from `first` to before `last`."""
    aggregate = feature.aggregate
    # Totals of older events belong to what has no window alone.
    whole = feature.window is None
    numbers = [number for _, _, number in series.entries[first:last] if number is not None]
    if aggregate in ("sum", "avg"):
        total = math.fsum([*numbers, *(series.sum if whole else ())])
        count = len(numbers) + (series.numbers if whole else 0)
        return total if aggregate == "sum" else total / count if count else None
    bound = series.least if aggregate == "min" else series.greatest
    if whole and bound is not None:
        numbers.append(bound)
    return (min if aggregate == "min" else max)(numbers, default=None)
