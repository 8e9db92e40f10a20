"""`tessera templates` and `tessera campaigns`."""

import json

from typer.testing import CliRunner, Result

from cli import main
from libs.errors import Invalid
from tessera.render.v1 import campaign_service_pb2 as campaign_pb
from tessera.render.v1 import template_service_pb2 as template_pb
from tessera.render.v1.campaign_pb2 import STREAM_MARKETING, Campaign
from tessera.render.v1.template_pb2 import Template
from tests.unit.cli.served import Served


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main.app, arguments)


def test_a_list_of_many_pages_is_read_whole(served: Served) -> None:
    def listed(request: template_pb.ListTemplatesRequest) -> template_pb.ListTemplatesResponse:
        number = int(request.page_token or 0)
        return template_pb.ListTemplatesResponse(
            templates=[Template(template_id=f"t-{number}")],
            next_page_token=str(number + 1) if number < 3 else "",
        )

    served.answer("tessera.render.v1.TemplateService", ListTemplates=listed)

    assert ["t-0", "t-1", "t-2", "t-3"] == [
        one["template_id"] for one in json.loads(_run("templates", "list", "--json").stdout)
    ]


def test_a_template_is_shown_with_its_parts_as_they_are(served: Served) -> None:
    whole = Template(template_id="hello", version=2, subject="[bold]Hi", html="<p>{{ x }}</p>")
    served.answer(
        "tessera.render.v1.TemplateService",
        GetTemplate=lambda _: template_pb.GetTemplateResponse(template=whole),
    )
    result = _run("templates", "show", "hello", "--version", "2")

    assert 2 == served.requests[-1].version
    assert "[bold]Hi" in result.stdout
    assert "<p>{{ x }}</p>" in result.stdout


def test_a_campaign_is_shown_in_words(served: Served) -> None:
    campaign = Campaign(
        campaign_id="hello", segment_id="curious", stream=STREAM_MARKETING, paused=True, version=3
    )
    campaign.max_age.FromSeconds(5400)
    campaign.expire_after.FromSeconds(86_400)
    served.answer(
        "tessera.render.v1.CampaignService",
        GetCampaign=lambda _: campaign_pb.GetCampaignResponse(campaign=campaign),
    )
    words = " ".join(_run("campaigns", "show", "hello").stdout.split())

    assert "starts when somebody enters curious" in words
    assert "missed after 90 min" in words
    assert "for a connector for 1 d" in words
    assert "paused yes" in words


def test_what_is_deleted_is_asked_for_first(served: Served) -> None:
    served.answer(
        "tessera.render.v1.CampaignService", DeleteCampaign=lambda _: campaign_pb.DeleteCampaignResponse()
    )
    refused = _run("campaigns", "delete", "hello")

    assert isinstance(refused.exception, Invalid)
    assert [] == served.requests
    assert "hello is deleted" in _run("campaigns", "delete", "hello", "--yes").stdout
    assert "hello" == served.requests[-1].campaign_id
