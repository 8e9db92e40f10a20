"""`tessera preview` and `tessera send-test`."""

import json
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from cli import main
from libs.errors import Invalid, NotFound
from tessera.profile.v1 import history_service_pb2 as history_pb
from tessera.profile.v1 import profile_service_pb2 as profile_pb
from tessera.profile.v1.history_pb2 import HistoryEvent
from tessera.profile.v1.profile_pb2 import Profile
from tessera.render.v1 import campaign_service_pb2 as campaign_pb
from tessera.render.v1 import preview_service_pb2 as pb
from tessera.render.v1.template_pb2 import TemplateWarning
from tests.unit.cli.served import Refusal, Served

_WARNING = TemplateWarning(part="html", line=3, message="nothing has the name user.segment")
_EVENTS = [
    HistoryEvent(name="Order Completed", properties_json=b'{"order_id":"1"}'),
    HistoryEvent(name="Product Added", properties_json=b'{"name":"Kettle"}'),
]


@pytest.fixture
def render(served: Served) -> Served:
    """Knows Ada, the campaign `hello`, and her last events."""

    def campaign(request: campaign_pb.GetCampaignRequest) -> campaign_pb.GetCampaignResponse:
        if request.campaign_id != "hello":
            raise Refusal(grpc.StatusCode.NOT_FOUND, "there is no such campaign")
        return campaign_pb.GetCampaignResponse()

    served.answer(
        "tessera.profile.v1.ProfileService",
        GetProfile=lambda _: profile_pb.GetProfileResponse(profile=Profile(profile_id="p-1")),
    )
    served.answer(
        "tessera.profile.v1.HistoryService",
        ListEvents=lambda _: history_pb.ListEventsResponse(events=_EVENTS),
    )
    served.answer("tessera.render.v1.CampaignService", GetCampaign=campaign)
    served.answer(
        "tessera.render.v1.PreviewService",
        RenderForProfile=lambda _: pb.RenderForProfileResponse(
            subject="Hello [Ada]", html="<b>[i]</b>", text="Hello", warnings=[_WARNING]
        ),
        SendTest=lambda _: pb.SendTestResponse(message_id="m-1", warnings=[_WARNING]),
    )
    return served


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main.app, arguments)


def test_there_is_a_preview_on_the_command_line(render: Served) -> None:
    result = _run("preview", "hello", "--for", "ada", "--event", "Product Added")
    request = render.requests[-1]

    assert 0 == result.exit_code
    assert "Hello [Ada]" in result.stdout
    assert ("p-1", "hello", b'{"name":"Kettle"}') == (
        request.profile_id,
        request.campaign_id,
        request.event_properties_json,
    )
    assert "warning: html line 3: nothing has the name user.segment" in result.stderr


def test_a_name_that_is_no_campaign_is_a_template(render: Served) -> None:
    assert "<b>[i]</b>\n" == _run("preview", "welcome", "--for", "ada", "--html").stdout
    assert "welcome" == render.requests[-1].template_id


def test_a_template_can_be_tried_before_it_is_applied(render: Served, tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "draft"
    folder.mkdir(parents=True)
    (folder / "subject.liquid").write_text("Draft")
    (folder / "html.liquid").write_text("<p>")
    result = _run("preview", "draft", "--for", "ada", "--from", str(tmp_path), "--json")

    assert "Hello [Ada]" == json.loads(result.stdout)["subject"]
    assert "Draft" == render.requests[-1].template.subject
    assert isinstance(_run("preview", "x", "--for", "ada", "--from", str(tmp_path)).exception, NotFound)


def test_there_is_a_test_send_on_the_command_line(render: Served) -> None:
    result = _run("send-test", "hello", "--to", "me@example.com", "--for", "ada", "--event", '{"a": 1}')
    request = render.requests[-1]

    assert "tessera messages show m-1" in " ".join(result.stdout.split())
    assert ("hello", "me@example.com", b'{"a": 1}') == (
        request.campaign_id,
        request.to,
        request.event_properties_json,
    )
    assert request.request_id


@pytest.mark.parametrize(("event", "error"), [("{", Invalid), ("Signed Up", NotFound)])
def test_an_event_that_is_none_is_told(render: Served, event: str, error: type[Exception]) -> None:
    assert isinstance(_run("preview", "hello", "--for", "ada", "--event", event).exception, error)
