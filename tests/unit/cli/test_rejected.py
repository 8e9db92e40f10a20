"""How `tessera rejected` tells what was sent."""

import pytest

from cli.commands.sources import _body_text, body_of
from tessera.ingest.v1.event_pb2 import EVENT_TYPE_TRACK, Event


def test_rejected_prints_an_import_s_event_decoded() -> None:
    event = Event(
        type=EVENT_TYPE_TRACK,
        user_id="ada",
        properties_json='{"price":1.10,"name":"Öl"}'.encode(),
        consent={"email_marketing": False},
    )
    event.timestamp.FromJsonString("2026-01-31T12:00:00Z")

    assert {
        "type": "track",
        "userId": "ada",
        "timestamp": "2026-01-31T12:00:00Z",
        "properties": {"price": 1.1, "name": "Öl"},
        "consent": {"email_marketing": False},
    } == body_of(event.SerializeToString())
    assert '"name":"Öl"' in _body_text(event.SerializeToString())


def test_properties_that_are_no_json_are_shown_as_they_came() -> None:
    event = Event(user_id="ada", properties_json=b'{"price": NaN')

    assert {"userId": "ada", "properties": '{"price": NaN'} == body_of(event.SerializeToString())


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"userId":"ada"}', {"userId": "ada"}),
        (b' {"userId":"ada",', ' {"userId":"ada",'),
        (b'{"name":"M\xfcller"}', '{"name":"M\ufffdller"}'),
        (b"\xff\xfe\x00", "3 bytes that are no event"),
    ],
)
def test_what_came_by_http_is_shown_as_it_came(body: bytes, shown: object) -> None:
    assert shown == body_of(body)


def test_rejected_shows_personal_data_only_as_far_as_the_key_may_see() -> None:
    """The server blanks the body for a key without pii.read."""
    assert body_of(b"") is None
    assert "may not read personal data" in _body_text(b"")
