"""The waits of triggers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from libs.expressions import Series
from services.segment.membership.model.features import series_in
from services.segment.membership.model.series import SeriesState
from services.segment.membership.model.state import State
from services.segment.membership.model.tracking import WATCHED, arrivals_of
from services.segment.model import SECOND
from services.segment.triggers.model import TriggerDefinition, TriggerMode

SKEW = 300 * SECOND
"""So far ahead a source's clock may be: ingest lets event times through up to five minutes in the future."""
# Far more than a person does in a week before one order.
_MOST_WITHDRAWN = 100


@dataclass(frozen=True, slots=True)
class Wait:
    """A trigger, by where a state keeps its events, each with the time at which it was received."""

    trigger: TriggerDefinition
    started: int
    answers: tuple[int, ...]

    @classmethod
    def of(cls, trigger: TriggerDefinition, ids: Mapping[Series, int]) -> "Wait":
        """Find its series."""
        started, *answers = (ids[arrivals_of(name)] for name in (trigger.event_name, *trigger.unless))
        return cls(trigger, started, tuple(answers))

    def over(self, state: State, after: int) -> Iterator[tuple[int, bytes, int]]:
        """The waits that nothing ended and that are over after `after`: when, what began each, its origin."""
        series, delay = series_in(state, self.started), self.trigger.delay
        first = series.first_after(after - delay)
        for_each = self.trigger.mode is TriggerMode.EACH_EVENT
        if not for_each:
            # Of the events whose wait goes on at `after`, the last has ended the others.
            first = max(first, series.first_after(after) - 1)
        for index in range(first, len(series)):
            due = series.time_at(index) + delay
            again = not for_each and index + 1 < len(series) and series.time_at(index + 1) <= due
            if not again and self._answer(state, series, index, due) is None:
                yield due, series.id_at(index), series.origins[index]

    def taken_back(
        self, state: State, start_ids: set[bytes], answer_ids: set[bytes], now: int
    ) -> Iterator[tuple[bytes, int, bytes, int]]:
        """The waits, over by `now`, to which a new event gives an answer that may come after they fired.

        Gives what began each, and the answer's time, id and origin. `start_ids` and `answer_ids` name the
        new events; whether a wait has fired at all is not known here.
        """
        series, delay = series_in(state, self.started), self.trigger.delay
        found = 0
        for index in reversed(range(len(series))):
            due = series.time_at(index) + delay
            if due > now:
                continue
            if due + WATCHED < now - WATCHED or found == _MOST_WITHDRAWN:
                break
            answer = self._answer(state, series, index, due + WATCHED)
            if answer is not None and (series.id_at(index) in start_ids or answer[1] in answer_ids):
                found += 1
                yield series.id_at(index), *answer

    def _answer(
        self, state: State, series: SeriesState, index: int, until: int
    ) -> tuple[int, bytes, int] | None:
        """What answers a start event by `until`: the time, id and origin of one such event."""
        time = series.time_at(index)
        for series_id in self.answers:
            answers = series_in(state, series_id)
            place = answers.first_after(time - 1)
            if place < len(answers) and answers.time_at(place) <= until:
                return answers.time_at(place), answers.id_at(place), answers.origins[place]
            # An earlier time may only be that of a clock that is behind the other.
            for before in range(place - 1, -1, -1):
                if answers.time_at(before) < time - SKEW:
                    break
                if answers.origins[before] != series.origins[index] and (
                    answers.number_at(before) >= series.number_at(index)
                ):
                    return answers.time_at(before), answers.id_at(before), answers.origins[before]
        return None
