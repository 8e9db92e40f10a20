"""Which events a plan keeps of a person, and for how long singly."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from libs.expressions import ANY, Rule, Series, compile_predicate, number_at, parse_rule
from services.segment.definitions.model import SegmentDefinition
from services.segment.membership.model.state import Occurrence
from services.segment.model import DAY, SECOND
from services.segment.triggers.model import TriggerDefinition

BASE_KEEP = 7 * DAY
"""How far back it is told exactly since when a rule has held."""
LATE = DAY
"""How much later than the end of its wait an event may come and still fire a trigger."""
WATCHED = 7 * DAY
"""How long after it fired an answer takes a trigger's effect back."""

ALL_TRAITS = "*"
"""In place of a trait's name, where a rule reads whatever there is."""

# No path of a rule's: a series of this one keeps when its events were received.
_ARRIVAL = ".received"

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


@dataclass(frozen=True, slots=True)
class TrackedTrait:
    """A trait that rules of the plan read: others are not kept."""

    name: str
    """Or ALL_TRAITS."""
    since: int
    """The version of the plan since which it has been kept."""


def arrivals_of(event_name: str) -> Series:
    """The series that keeps a trigger's events, each with the time at which it was received."""
    return Series(event_name, _ARRIVAL, None)


def rules_of(segments: Iterable[SegmentDefinition], triggers: Iterable[TriggerDefinition]) -> list[Rule]:
    """All that definitions evaluate."""
    texts = [s.expression for s in segments] + [t.condition for t in triggers if t.condition]
    return [parse_rule(text) for text in texts]


def needed_traits(
    segments: Iterable[SegmentDefinition], triggers: Iterable[TriggerDefinition]
) -> frozenset[str]:
    """The traits that definitions read; ALL_TRAITS alone where one reads whatever there is."""
    names = frozenset(name for rule in rules_of(segments, triggers) for name in rule.traits)
    return frozenset({ALL_TRAITS}) if ALL_TRAITS in names else names


def needed_series(
    segments: Iterable[SegmentDefinition],
    triggers: Sequence[TriggerDefinition],
    stored: Collection[Series] = (),
) -> dict[Series, int]:
    """The series to keep for what definitions read, and how long each keeps its events singly.

    What only counts events reads them in a series of their numbers, where there is one: needed, or among
    those that are `stored`.
    """
    keeps: dict[Series, int] = defaultdict(int)
    for rule in rules_of(segments, triggers):
        for feature in rule.features:
            window = (feature.window or 0) * SECOND
            keeps[feature.series] = max(keeps[feature.series], window + BASE_KEEP)
    for trigger in triggers:
        watched = WATCHED + LATE if trigger.withdraws else 0
        for name in (trigger.event_name, *trigger.unless):
            series = arrivals_of(name)
            keeps[series] = max(keeps[series], trigger.delay + LATE + watched, BASE_KEEP)
    for counted in [series for series in keeps if series.value is None]:
        having = series_that_counts(counted, keeps)
        if having is None and counted not in stored:
            # Or a rule that goes would have everybody's history read, for what is there.
            having = series_that_counts(counted, stored)
        if having is not None:
            keeps[having] = max(keeps[having], keeps.pop(counted))
    return dict(keeps)


def series_that_counts(counted: Series, among: Iterable[Series]) -> Series | None:
    """A series of numbers that has the events which another only counts; the same whatever their order."""
    having = [one for one in among if one.value is not None and replace(one, value=None) == counted]
    return min(having, key=lambda one: one.value or "", default=None)


_Wanted = tuple[int, str | None, Callable[[Mapping[str, Any]], bool] | None]


class Collector:
    """Finds the series that an event belongs to, and the number that each keeps of it."""

    def __init__(self, tracked: Iterable[TrackedSeries]) -> None:
        self._wanted: dict[tuple[str, str], list[_Wanted]] = {}
        for t in tracked:
            where = None if t.series.where is None else compile_predicate(t.series.where)
            wanted = self._wanted.setdefault((t.series.kind, t.series.event), [])
            wanted.append((t.series_id, t.series.value, where))
        self._any = self._wanted.pop(("event", ANY), [])

    def series_of(self, occurrence: Occurrence) -> list[tuple[int, float | None]] | None:
        """The series, with the number that each keeps of it; None where nothing asks for such events."""
        wanted = self._wanted.get(("event", occurrence.name)) if occurrence.name else None
        if self._any:
            wanted = [*(wanted or ()), *self._any]
        if occurrence.view:
            named, unnamed = (occurrence.view, occurrence.viewed), (occurrence.view, ANY)
            wanted = [*(wanted or ()), *self._wanted.get(unnamed, ())]
            if occurrence.viewed:
                wanted += self._wanted.get(named, ())
        if not wanted:
            return None
        found: list[tuple[int, float | None]] = []
        properties: dict[str, Any] | None = None
        for series_id, path, where in wanted:
            if where is None and (path is None or path == _ARRIVAL):
                found.append((series_id, None if path is None else float(occurrence.received)))
                continue
            if properties is None:
                properties = _properties_of(occurrence)
            if where is None or where(properties):
                found.append((series_id, None if path is None else _number(properties, path)))
        return found


def _properties_of(occurrence: Occurrence) -> dict[str, Any]:
    """What can't be read is as if it weren't there: the event itself has happened all the same."""
    try:
        properties = orjson.loads(occurrence.properties) if occurrence.properties else {}
    except orjson.JSONDecodeError:
        return {}
    return properties if isinstance(properties, dict) else {}


def _number(properties: Mapping[str, Any], path: str) -> float:
    """The number as it is kept, a double: NaN where there is none, and minus zero is zero."""
    value = number_at(properties, path)
    return math.nan if value is None or abs(value) > _GREATEST else value + 0.0
