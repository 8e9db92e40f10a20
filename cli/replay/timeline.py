"""Moves a history in time, splits off what is to happen now, and packs calls into batches, all lazily."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import orjson

from cli.replay.call import Call, SourcedCall, time_of, to_timestamp
from libs.errors import Invalid

MAX_CALL_BYTES = 32 * 1024
MAX_BATCH_BYTES = 500_000

# Without `sentAt`: the server takes `receivedAt - sentAt` for the client's clock being wrong and would
# move every call of a replay by it.
_OPEN, _COMMA, _CLOSE = b'{"batch":[', b",", b"]}"


def weeks_to_shift(last: datetime, now: datetime) -> int:
    """Says how many whole weeks later (or earlier) a history must be to end within the week before `now`."""
    return (now - last) // timedelta(weeks=1)


def shift_by_whole_weeks(calls: Iterable[SourcedCall], weeks: int) -> Iterator[SourcedCall]:
    """Moves calls by whole weeks, so that weekdays and times of day stay what they were."""
    if not weeks:
        yield from calls
        return
    by = timedelta(weeks=weeks)
    # Neighbours often share a time (the lines of an invoice), which is then computed once.
    before = after = ""
    for source, call in calls:
        if call["timestamp"] != before:
            before, after = call["timestamp"], to_timestamp(time_of(call) + by)
        yield source, {**call, "timestamp": after}


def hold_back(calls: Iterable[SourcedCall], count: int) -> tuple[Iterator[SourcedCall], deque[SourcedCall]]:
    """Splits off the last `count` calls: they are in the second answer once the first is exhausted."""
    if count < 0:
        raise Invalid("count", f"{count} calls can't be held back")
    held: deque[SourcedCall] = deque()

    def earlier() -> Iterator[SourcedCall]:
        for call in calls:
            held.append(call)
            if len(held) > count:
                yield held.popleft()

    return earlier(), held


def restamp(calls: Sequence[SourcedCall], now: datetime, seconds: float) -> list[SourcedCall]:
    """Spaces calls evenly over the seconds that end at `now`, in their order, the last one at `now`."""
    step = timedelta(seconds=seconds) / max(len(calls), 1)
    times = (now - step * left for left in range(len(calls) - 1, -1, -1))
    return [(source, _at(call, moment)) for (source, call), moment in zip(calls, times, strict=True)]


@dataclass(frozen=True, slots=True)
class Batch:
    """The body of one `POST /v1/batch`, and the source whose key it is sent with."""

    source: str
    body: bytes
    count: int


def batches(calls: Iterable[SourcedCall], max_count: int = 500, max_bytes: int = 450_000) -> Iterator[Batch]:
    """Packs calls into batches without `sentAt`, keeping the order of each source.

    A full batch takes the other sources' calls along, so that none runs ahead of the others by more
    than a batch.
    """
    if max_count < 1:
        raise Invalid("max_count", "a batch holds at least one call")
    least = len(_OPEN) + MAX_CALL_BYTES + len(_CLOSE)
    if not least <= max_bytes <= MAX_BATCH_BYTES:
        raise Invalid("max_bytes", f"must be from {least} to {MAX_BATCH_BYTES}")
    parcels: dict[str, _Parcel] = {}
    for source, call in calls:
        item = _encode(call)
        parcel = parcels.setdefault(source, _Parcel())
        if len(parcel.items) == max_count or parcel.size + len(item) > max_bytes:
            yield from _sealed(parcels)
            parcel = parcels[source] = _Parcel()
        parcel.add(item)
    yield from _sealed(parcels)


@dataclass(slots=True)
class _Parcel:
    items: list[bytes] = field(default_factory=list)
    size: int = len(_OPEN) + len(_CLOSE)

    def add(self, item: bytes) -> None:
        self.items.append(item)
        self.size += len(item) + len(_COMMA)


def _sealed(parcels: dict[str, _Parcel]) -> Iterator[Batch]:
    for source, parcel in parcels.items():
        yield Batch(source, _OPEN + _COMMA.join(parcel.items) + _CLOSE, len(parcel.items))
    parcels.clear()


def _encode(call: Call) -> bytes:
    item = orjson.dumps(call)
    if len(item) > MAX_CALL_BYTES:
        raise Invalid(
            "messageId", f"call {call['messageId']} has {len(item)} bytes, more than {MAX_CALL_BYTES}"
        )
    return item


def _at(call: Call, moment: datetime) -> Call:
    return {**call, "timestamp": to_timestamp(moment)}
