"""Which series a plan keeps: as few as the rules can be read from."""

from libs.expressions import Series
from services.segment.definitions.model import SegmentDefinition
from services.segment.membership.model import Plan, State, TrackedSeries, Update, needed_series
from services.segment.membership.model.state import Occurrence
from tests.model.events import DAY

COUNTED, SUMMED = Series("Order", None, None), Series("Order", "total", None)


def _segments(*rules: str) -> list[SegmentDefinition]:
    return [SegmentDefinition(f"s{number}", "", rule, 1, 1) for number, rule in enumerate(rules)]


def test_what_counts_events_reads_the_series_of_their_numbers() -> None:
    count, total = 'events("Order").within("30d").count() > 1', 'events("Order").sum("total") > 5'

    assert {COUNTED: 37 * DAY} == needed_series(_segments(count), [])
    assert {SUMMED: 37 * DAY} == needed_series(_segments(count, total), [])
    assert {SUMMED: 37 * DAY} == needed_series(_segments(total, count), [])


def test_a_count_of_all_does_not_read_a_series_of_some() -> None:
    rules = 'events("Order").count() > 1', 'events("Order").where(properties.total > 5).sum("total") > 5'
    needed = needed_series(_segments(*rules), [])

    assert 2 == len(needed)
    assert COUNTED in needed


def test_a_rule_that_goes_leaves_the_series_by_which_another_counts() -> None:
    count = _segments('events("Order").count() > 1')

    assert {SUMMED: 7 * DAY} == needed_series(count, [], {SUMMED})
    assert {COUNTED: 7 * DAY} == needed_series(count, [], {SUMMED, COUNTED})
    assert {COUNTED: 7 * DAY} == needed_series(count, [], {Series("Cart", "total", None)})


def test_events_without_a_number_are_counted_too() -> None:
    segments = _segments('events("Order").count() > 1', 'events("Order").sum("total") > 5')
    tracked = [TrackedSeries(7, series, keep, 1) for series, keep in needed_series(segments, []).items()]
    plan = Plan(1, segments, [], tracked)
    state = State("p")
    orders = [
        Occurrence(bytes((n,)) * 16, "Order", DAY + n, body) for n, body in enumerate((b"", b'{"a":1}'))
    ]
    plan.apply(state, Update("p", 1, occurrences=tuple(orders)), set())
    plan.advance(state, 2 * DAY, DAY)

    assert {"s0"} == state.memberships.keys()
    assert [7] == list(state.series)
