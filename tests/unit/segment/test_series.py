"""A series, divided into parts, is the same as one that is not."""

import math

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.segment.membership.model import SeriesState

NUMBERS = st.sampled_from([0.1, 0.2, 1e16, -1e16, 3.0, math.nan, -7.5])


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2000), NUMBERS), min_size=100, max_size=450),
    st.lists(st.integers(0, 2000), max_size=3),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 700)), min_size=1, max_size=5),
)
def test_parts_are_read_back_and_summed_up_as_the_events_they_hold(
    events: list[tuple[int, float]], folds: list[int], asked: list[tuple[int, int]]
) -> None:
    series = SeriesState()
    stored: dict[int, bytes] = {}
    kept: list[tuple[int, bytes, float]] = []
    for number, (time, value) in enumerate(sorted(events)[: len(events) // 2] + events[len(events) // 2 :]):
        id_ = number.to_bytes(16, "big")
        series.add(time, id_, number % 256, value)
        kept.append((time, id_, value))
        if number % 97 == 0 and folds:
            until = folds.pop()
            series.fold(until)
            kept = [one for one in kept if one[0] > until]
        if number % 31 == 0:
            parts, _ = series.changed_parts()
            stored |= {place: msgspec.msgpack.encode(part) for place, part in parts.items()}
        for first, last in asked:
            first, last = sorted((first % (len(kept) + 1), last % (len(kept) + 1)))
            for after in (last, len(kept)):
                numbers = [v for _, _, v in sorted(kept, key=lambda k: k[:2])[first:after] if v == v]
                summed = series.summed(first, after)
                assert (len(numbers), min(numbers, default=None), max(numbers, default=None)) == (
                    summed.count,
                    summed.least,
                    summed.greatest,
                )
                assert math.fsum(numbers) == math.fsum(summed.terms)
    parts, _ = series.changed_parts()
    stored |= {place: msgspec.msgpack.encode(part) for place, part in parts.items()}
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(series.head()), type=SeriesState)
    places = read.division.numbers if read.division is not None else ()
    read.join([msgspec.msgpack.decode(stored[place], type=SeriesState) for place in places])

    assert bytes(series.numbers) == bytes(read.numbers)
    assert (series.times, series.ids, series.origins) == (read.times, read.ids, read.origins)
