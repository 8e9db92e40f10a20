"""Templates, campaigns, previews and lists by gRPC."""

from typing import Any

import grpc
import pytest

from libs import rpc
from tessera.render.v1 import message_pb2
from tessera.render.v1 import render_service_pb2 as pb
from tests.integration.render.rig import Rig


async def refused(call: Any) -> tuple[grpc.StatusCode, Any]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), rpc.error_from(error.value)


async def put(rig: Rig, **parts: str) -> message_pb2.Template:
    template = message_pb2.Template(**{"template_id": "t", "subject": "s", "html": "<p>h</p>", **parts})
    return (await rig.render.PutTemplate(pb.PutTemplateRequest(template=template))).template


async def test_the_same_template_again_changes_nothing_and_another_text_makes_a_version(rig: Rig) -> None:
    versions = [(await put(rig, html=html)).version for html in ("<p>1", "<p>1", "<p>2", "<p>1")]
    old = (await rig.render.GetTemplate(pb.GetTemplateRequest(template_id="t", version=2))).template
    listed = (await rig.render.ListTemplates(pb.ListTemplatesRequest())).templates

    assert [1, 1, 2, 3] == versions
    assert ("<p>2", "2\n") == (old.html, old.text)
    assert [("t", 3, "<p>1")] == [(one.template_id, one.version, one.html) for one in listed]


async def test_a_template_that_was_read_can_be_put_back(rig: Rig) -> None:
    stored = await put(rig)
    again = (await rig.render.PutTemplate(pb.PutTemplateRequest(template=stored))).template

    assert stored == again


async def test_a_wrong_template_is_refused_with_its_part_and_line(rig: Rig) -> None:
    code, error = await refused(put(rig, html="<p>\n{{ name | shout }}"))

    assert grpc.StatusCode.INVALID_ARGUMENT == code
    assert ("template.html", "line 2: unknown filter 'shout'") == (error.field, error.problem)


async def test_an_unknown_template_is_not_found(rig: Rig) -> None:
    codes = [
        (await refused(rig.render.GetTemplate(pb.GetTemplateRequest(template_id="t"))))[0],
        (await refused(rig.put(template_id="t", html=" x", subject="s", campaign_id="no id")))[0],
    ]
    campaign = message_pb2.Campaign(
        campaign_id="c", segment_id="s", template_id="unknown", **{"from": "a@b.example"}
    )
    codes.append((await refused(rig.render.PutCampaign(pb.PutCampaignRequest(campaign=campaign))))[0])

    missing, invalid = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT
    assert [missing, invalid, missing] == codes


async def test_a_campaign_answers_with_its_defaults_and_can_be_changed(rig: Rig) -> None:
    first = await rig.put()
    second = await rig.put(segment_id="loyal", stream="STREAM_TRANSACTIONAL", max_age_seconds=5)
    listed = (await rig.render.ListCampaigns(pb.ListCampaignsRequest())).campaigns

    assert (3600, 86_400, "cart", message_pb2.STREAM_MARKETING) == (
        first.max_age_seconds,
        first.expire_after_seconds,
        first.trigger_id,
        first.stream,
    )
    assert [second] == list(listed)
    assert ("loyal", "", 5) == (second.segment_id, second.trigger_id, second.max_age_seconds)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("campaign_id", "No spaces"),
        ("from", "nobody"),
        ("from", "Shop <shop@example.com>\nBcc: eve@example.com"),
        ("reply_to", "nobody"),
        ("max_age_seconds", 7 * 86_400 + 1),
        ("max_age_seconds", -1),
        ("recommendations", 21),
        ("display_name", "x" * 201),
    ],
)
async def test_a_wrong_campaign_is_refused_with_its_field(rig: Rig, field: str, value: Any) -> None:
    code, error = await refused(rig.put(**{field: value}))

    assert grpc.StatusCode.INVALID_ARGUMENT == code
    assert f"campaign.{field}" == error.field


async def test_a_preview_fills_an_unsaved_template_and_stores_nothing(rig: Rig) -> None:
    template = message_pb2.Template(subject="Hi\n {{ profile.name }}", html="<b>{{ profile.name }}</b>")
    request = pb.PreviewRequest(template=template, context_json=b'{"profile": {"name": "<Ada>"}}')
    shown = await rig.render.Preview(request)

    assert ("Hi <Ada>", "<b>&lt;Ada&gt;</b>", "<Ada>\n") == (shown.subject, shown.html, shown.text)
    assert 0 == len((await rig.render.ListTemplates(pb.ListTemplatesRequest())).templates)


async def test_an_outcome_that_nobody_knows_is_not_all_outcomes(rig: Rig) -> None:
    code, error = await refused(rig.messages(outcome=9))

    assert (grpc.StatusCode.INVALID_ARGUMENT, "outcome") == (code, error.field)


async def test_messages_are_listed_newest_first_in_pages(rig: Rig) -> None:
    await rig.put()
    people = [rig.profiles.add() for _ in range(5)]
    for who in people:
        await rig.decide(rig.transition(who))
    await rig.decide(rig.transition(people[0], age=9999))
    seen, token, pages = [], "", 0
    while not pages or token:
        page = await rig.render.ListMessages(
            pb.ListMessagesRequest(page_size=2, page_token=token, outcome=message_pb2.OUTCOME_RENDERED)
        )
        seen += [message.profile_id for message in page.messages]
        token, pages = page.next_page_token, pages + 1
    of_one = await rig.render.ListMessages(pb.ListMessagesRequest(profile_id=people[0]))

    assert (people[::-1], 3) == (seen, pages)
    assert {"OUTCOME_RENDERED": 1, "OUTCOME_MISSED": 1} == dict(of_one.totals)
    assert {"OUTCOME_RENDERED": 5, "OUTCOME_MISSED": 1} == dict(page.totals)
