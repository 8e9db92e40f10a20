"""How the `tessera messages` commands tell what became of a message."""

import pytest

from cli.commands.messages import _facts, _print_line
from tessera.render.v1 import message_pb2 as pb


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
