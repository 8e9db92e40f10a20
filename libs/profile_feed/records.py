"""The records of `tessera.profile.updates`, sorted by whom they concern."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from libs.errors import Invalid
from libs.ids import uuid_text
from libs.messaging.records import Received
from libs.times import micros
from tessera.profile.v1 import profile_events_pb2

UPDATED = "tessera.profile.v1.ProfileUpdated"
CLOCK = "tessera.profile.v1.ClockAdvanced"
_NORMAL = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Feed:
    """What a batch of records tells."""

    steps: dict[str, list[bytes]] = field(default_factory=dict)
    """By profile id, the bodies of its steps in the order in which they came; `step_of` reads one."""
    clocks: dict[int, int] = field(default_factory=dict)
    """By partition, the time up to which everything acknowledged is on it: microseconds since 1970."""
    traces: dict[str, str] = field(default_factory=dict)
    """By profile id, the `traceparent` of its last record that has one."""


def feed_of(records: Iterable[Received]) -> Feed:
    """Sort a batch; Invalid for a record that names no profile, or a clock that can't be read.

    Records of other types are for readers to come: they are left out.
    """
    feed = Feed()
    for record in records:
        if record.type == UPDATED:
            # A worker's own ids are in their normal form: only what may be none is looked at closely.
            profile_id = record.key.decode(errors="replace")
            steps = feed.steps.get(profile_id)
            if steps is None:
                if not _NORMAL.fullmatch(profile_id):
                    uuid_text(profile_id, "record.key")
                steps = feed.steps[profile_id] = []
            steps.append(record.value)
            traceparent = record.headers.get("traceparent")
            if traceparent is not None:
                feed.traces[profile_id] = traceparent
        elif record.type == CLOCK:
            known = feed.clocks.get(record.partition, 0)
            feed.clocks[record.partition] = max(known, _clock_of(record.value))
    return feed


def step_of(body: bytes) -> profile_events_pb2.ProfileUpdated:
    """A step from the body of its record; Invalid where it can't be read."""
    try:
        return profile_events_pb2.ProfileUpdated.FromString(body)
    except DecodeError as error:
        raise Invalid("record", f"not a ProfileUpdated: {error}") from error


def _clock_of(body: bytes) -> int:
    try:
        return micros(profile_events_pb2.ClockAdvanced.FromString(body).time)
    except DecodeError as error:
        raise Invalid("record", f"not a ClockAdvanced: {error}") from error
