"""Calls as the contract's messages, and back."""

import pytest

from libs.errors import Invalid
from libs.tracking.contract import call_of, field_name
from tessera.ingest.v1.event_pb2 import EVENT_TYPE_IDENTIFY, Event


def _event(seconds: int) -> Event:
    event = Event(type=EVENT_TYPE_IDENTIFY, user_id="1")
    event.sent_at.seconds = seconds
    return event


def test_a_time_of_sending_that_is_none_is_told_and_costs_nothing() -> None:
    call = call_of(_event(1_700_000_000_000))

    assert ("1", None) == (call.user_id, call.sent_at)
    assert ["sent_at"] == [field_name(one.field) for one in call.left_out]
    assert (7_000_000, ()) == (call_of(_event(7)).sent_at, call_of(_event(7)).left_out)


def test_a_time_that_is_none_costs_the_event() -> None:
    event = _event(7)
    event.timestamp.seconds = 1_700_000_000_000
    with pytest.raises(Invalid, match="timestamp"):
        call_of(event)
