"""The values of features at a time."""

import math
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


def values_of(state: State, features: Iterable[Located], at: int, until: int | None = None) -> list[Number]:
    """What the features are at a time; with `until`, of the events up to then only."""
    series = state.series
    return [_value(series.get(f.series_id, _NOTHING), f, at, until) for f in features]


def _value(series: SeriesState, feature: Located, at: int, until: int | None) -> Number:
    entries, aggregate, window = series.entries, feature.aggregate, feature.window
    # Totals of older events belong to what has no window alone.
    whole = window is None
    first, last = 0, len(entries)
    if window is not None and entries and entries[0][0] <= at - window:
        first = series.first_after(at - window)
    if until is not None and entries and entries[-1][0] > until:
        last = series.first_after(until)
    if aggregate == "count":
        return max(0, last - first) + (series.count if whole else 0)
    numbers = [number for _, _, number in entries[first:last] if number is not None]
    if aggregate in ("sum", "avg"):
        total = math.fsum([*numbers, *(series.sum if whole else ())])
        count = len(numbers) + (series.numbers if whole else 0)
        return total if aggregate == "sum" else total / count if count else None
    bound = series.least if aggregate == "min" else series.greatest
    if whole and bound is not None:
        numbers.append(bound)
    return (min if aggregate == "min" else max)(numbers, default=None)
