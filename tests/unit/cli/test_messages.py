"""How the `tessera messages` commands tell what became of a message."""

import pytest

from cli.commands.messages import _facts, _none_of, _one_of, _print_line
from libs.errors import Invalid
from tessera.ingest.v1.event_pb2 import EVENT_TYPE_TRACK
from tessera.profile.v1.history_pb2 import HistoryEvent
from tessera.render.v1 import message_pb2 as pb
from tessera.render.v1 import message_service_pb2 as render_pb


def test_a_reason_stands_beside_what_it_is_the_reason_of() -> None:
    failed = pb.Message(outcome=pb.OUTCOME_FAILED, outcome_reason="because")
    rejected = pb.Message(
        outcome=pb.OUTCOME_RENDERED, delivery_state=pb.DELIVERY_STATE_REJECTED, outcome_reason="because"
    )
    told = [
        [fact for fact in _facts(one) if fact[0] in ("outcome", "delivery")] for one in (failed, rejected)
    ]

    assert [
        [("outcome", "failed: because")],
        [("outcome", "rendered"), ("delivery", "rejected: because")],
    ] == told


def test_a_line_tells_how_the_delivery_stands_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    message = pb.Message(
        outcome=pb.OUTCOME_RENDERED,
        delivery_state=pb.DELIVERY_STATE_REJECTED,
        subject="Welcome",
        outcome_reason="422 there is no such mailbox",
    )
    _print_line(message, as_json=False)
    shown = capsys.readouterr().out

    assert "rejected " in shown
    assert shown.rstrip().endswith("Welcome  422 there is no such mailbox")


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (render_pb.ListMessagesRequest(page_size=20), "There are no messages yet."),
        (
            render_pb.ListMessagesRequest(delivery_state=pb.DELIVERY_STATE_WITHDRAWN),
            "There is no message whose delivery is withdrawn: ask without a filter",
        ),
        (
            render_pb.ListMessagesRequest(outcome=pb.OUTCOME_MISSED, campaign_id="hello"),
            "There is no message of the campaign hello whose outcome is missed: ask without a filter",
        ),
    ],
)
def test_messages_tail_with_an_empty_filter_says_what_there_is_none_of(
    wanted: render_pb.ListMessagesRequest, told: str
) -> None:
    assert told == _none_of(wanted)


@pytest.mark.parametrize("words", [("--delivery", "sent"), ("--outcome", "unspecified")])
def test_a_filter_that_is_none_is_refused_with_those_that_are(words: tuple[str, str]) -> None:
    with pytest.raises(Invalid, match=f"{words[0]}: is rendered or missed"):
        _one_of(*words, ("rendered", "missed"))

    assert "MISSED" == _one_of(words[0], "Missed", ("rendered", "missed"))


def test_messages_show_gives_the_event_s_name_and_values() -> None:
    message = pb.Message(definition_id="cart", cause_id=b"\1" * 16)
    cause = HistoryEvent(
        type=EVENT_TYPE_TRACK,
        name="Product Added",
        source_id="website",
        properties_json=b'{"name":"Kettle","price":48.0}',
    )
    facts = _facts(message, cause)
    at = [name for name, _ in facts].index("event")

    assert facts[at][1].startswith("Product Added from website at")
    assert [("", "name=Kettle"), ("", "price=48.0")] == facts[at + 1 : at + 3]


def test_messages_show_tells_where_the_event_can_not_be_read() -> None:
    (event,) = [value for name, value in _facts(pb.Message(cause_id=b"\1" * 16)) if name == "event"]

    assert event.startswith("none that is known: time alone decided")
