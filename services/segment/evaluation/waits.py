"""The waits of triggers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from libs.expressions import Series
from services.segment.domain import SeriesState, State, TriggerDefinition
from services.segment.evaluation.features import series_in


@dataclass(frozen=True, slots=True)
class Wait:
    """A trigger, by where a state keeps its events."""

    trigger: TriggerDefinition
    started: int
    answers: tuple[int, ...]

    @classmethod
    def of(cls, trigger: TriggerDefinition, ids: Mapping[Series, int]) -> "Wait":
        """Find its series."""
        started, *answers = (ids[Series(name, None, None)] for name in (trigger.event_name, *trigger.unless))
        return cls(trigger, started, tuple(answers))

    def over(self, state: State, after: int) -> Iterator[tuple[int, bytes]]:
        """The waits that nothing ended and that are over after `after`: when, and what began each."""
        series, delay = series_in(state, self.started), self.trigger.delay
        # Of the events whose wait goes on at `after`, the last has ended the others.
        first = max(series.first_after(after - delay), series.first_after(after) - 1)
        for index in range(first, len(series)):
            time = series.time_at(index)
            due = time + delay
            again = index + 1 < len(series) and series.time_at(index + 1) <= due
            if not again and not any(_has_any(series_in(state, id_), time, due) for id_ in self.answers):
                yield due, series.id_at(index)


def _has_any(series: SeriesState, first: int, last: int) -> bool:
    return series.first_after(first - 1) < series.first_after(last)
