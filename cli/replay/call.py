"""A call of Segment's tracking API, and its time."""

from datetime import UTC, datetime
from typing import Any

Call = dict[str, Any]
SourcedCall = tuple[str, Call]


def to_timestamp(moment: datetime) -> str:
    """Writes a time as Segment's SDKs do: ISO 8601 in UTC, with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def time_of(call: Call) -> datetime:
    """Reads a call's time."""
    return datetime.fromisoformat(call["timestamp"])
