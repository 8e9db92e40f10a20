"""Which events a plan keeps of a person, and for how long singly."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from libs.expressions import Series, compile_predicate, number_at, parse_rule
from services.segment.domain import DAY, SECOND, Occurrence, SegmentDefinition, TriggerDefinition

BASE_KEEP = 7 * DAY
"""How far back it is told exactly since when a rule has held."""
LATE = DAY
"""How much later than the end of its wait an event may come and still fire a trigger."""

# Sums of numbers up to this stay finite, however many there are.
_GREATEST = 1e300

Number = int | float | None


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
    keeps: dict[Series, int] = defaultdict(int)
    texts = [s.expression for s in segments] + [t.condition for t in triggers if t.condition]
    for text in texts:
        for feature in parse_rule(text).features:
            window = (feature.window or 0) * SECOND
            keeps[feature.series] = max(keeps[feature.series], window + BASE_KEEP)
    for trigger in triggers:
        for name in (trigger.event_name, *trigger.unless):
            series = Series(name, None, None)
            keeps[series] = max(keeps[series], trigger.delay + LATE, BASE_KEEP)
    return dict(keeps)


class Collector:
    """Finds the series that an event belongs to, and the number that each keeps of it."""

    def __init__(self, tracked: Iterable[TrackedSeries]) -> None:
        self._wanted: dict[str, list[tuple[int, str | None, Callable[[Mapping[str, Any]], bool] | None]]] = {}
        for t in tracked:
            where = None if t.series.where is None else compile_predicate(t.series.where)
            self._wanted.setdefault(t.series.event, []).append((t.series_id, t.series.value, where))

    def series_of(self, occurrence: Occurrence) -> list[tuple[int, float | None]] | None:
        """The series, with the number that each keeps of it; None where nothing asks for such events."""
        wanted = self._wanted.get(occurrence.name)
        if wanted is None:
            return None
        found: list[tuple[int, float | None]] = []
        properties: dict[str, Any] | None = None
        for series_id, path, where in wanted:
            if path is None and where is None:
                found.append((series_id, None))
                continue
            if properties is None:
                properties = orjson.loads(occurrence.properties) if occurrence.properties else {}
            if where is None or where(properties):
                found.append((series_id, None if path is None else _number(properties, path)))
        return found


def _number(properties: Mapping[str, Any], path: str) -> float:
    """The number as it is kept, a double: NaN where there is none, and minus zero is zero."""
    value = number_at(properties, path)
    return math.nan if value is None or abs(value) > _GREATEST else value + 0.0
