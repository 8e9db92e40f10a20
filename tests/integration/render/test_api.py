"""Templates, campaigns, previews and lists by gRPC."""

import asyncio
import uuid
from typing import Any

import grpc
import orjson
import pytest
from google.protobuf.duration_pb2 import Duration

from libs import rpc
from services.render.delivery.use_cases import subscriber_of
from tessera.render.v1 import campaign_pb2, message_pb2, template_pb2
from tessera.render.v1 import campaign_service_pb2 as campaigns
from tessera.render.v1 import message_service_pb2 as messages
from tessera.render.v1 import preview_service_pb2 as previews
from tessera.render.v1 import template_service_pb2 as templates
from tests.integration.render.rig import Rig


async def refused(call: Any) -> tuple[grpc.StatusCode, Any]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), rpc.error_from(error.value)


async def put(rig: Rig, **parts: str) -> template_pb2.Template:
    template: template_pb2.Template = (await rig.put_template(**parts)).template
    return template


async def test_the_same_template_again_changes_nothing_and_another_text_makes_a_version(rig: Rig) -> None:
    versions = [(await put(rig, html=html)).version for html in ("<p>1", "<p>1", "<p>2", "<p>1")]
    request = templates.GetTemplateRequest(template_id="t", version=2)
    old = (await rig.templates.GetTemplate(request)).template

    assert [1, 1, 2, 3] == versions
    assert ("<p>2", "2\n") == (old.html, old.text)


async def test_templates_are_listed_in_pages_without_their_bodies(rig: Rig) -> None:
    for template_id in ("c", "a", "b"):
        await put(rig, template_id=template_id, html="<p>1")
        await put(rig, template_id=template_id, html="<p>2", subject="news")
    first = await rig.templates.ListTemplates(templates.ListTemplatesRequest(page_size=2))
    rest = await rig.templates.ListTemplates(
        templates.ListTemplatesRequest(page_size=2, page_token=first.next_page_token)
    )
    listed = [*first.templates, *rest.templates]

    assert "" == rest.next_page_token
    assert [("a", 2), ("b", 2), ("c", 2)] == [(one.template_id, one.version) for one in listed]
    assert {("news", "", "")} == {(one.subject, one.html, one.text) for one in listed}


async def test_a_template_that_was_read_can_be_put_back(rig: Rig) -> None:
    stored = await put(rig)
    request = templates.UpdateTemplateRequest(template=stored, update_mask={"paths": ["*"]})
    again = (await rig.templates.UpdateTemplate(request)).template

    assert stored == again


async def test_a_text_part_that_was_made_from_the_html_part_follows_it(rig: Rig) -> None:
    await put(rig, html="<p>one")
    changed = templates.UpdateTemplateRequest(template={"template_id": "t", "html": "<p>two"})
    made = (await rig.templates.UpdateTemplate(changed)).template
    own = templates.UpdateTemplateRequest(template={"template_id": "t", "text": "my own"})
    await rig.templates.UpdateTemplate(own)
    changed.template.html = "<p>three"
    kept = (await rig.templates.UpdateTemplate(changed)).template

    assert ("two\n", "s") == (made.text, made.subject)
    assert ("<p>three", "my own") == (kept.html, kept.text)


async def test_an_existing_name_already_exists_but_not_for_the_request_that_made_it(rig: Rig) -> None:
    request = templates.CreateTemplateRequest(
        template={"template_id": "t", "subject": "s", "html": "h"}, request_id="r1"
    )
    first = (await rig.templates.CreateTemplate(request)).template
    await put(rig, html="<p>changed since")
    again = (await rig.templates.CreateTemplate(request)).template
    request.request_id = "r2"
    code, _ = await refused(rig.templates.CreateTemplate(request))

    assert (1, first) == (first.version, again)
    assert grpc.StatusCode.ALREADY_EXISTS == code


async def test_an_update_of_what_has_changed_since_it_was_read_is_aborted(rig: Rig) -> None:
    read = await put(rig, html="<p>1")
    newer = await put(rig, html="<p>2")
    request = templates.UpdateTemplateRequest(
        template={"template_id": "t", "html": "<p>3", "etag": read.etag}
    )
    code, _ = await refused(rig.templates.UpdateTemplate(request))
    request.template.etag = newer.etag
    taken = (await rig.templates.UpdateTemplate(request)).template

    assert (grpc.StatusCode.ABORTED, 3, "<p>3") == (code, taken.version, taken.html)


async def test_validating_only_stores_nothing(rig: Rig) -> None:
    request = templates.CreateTemplateRequest(
        template={"template_id": "t", "subject": "s", "html": "h"}, validate_only=True
    )
    checked = (await rig.templates.CreateTemplate(request)).template
    request.template.html = "{{ broken"
    code, _ = await refused(rig.templates.CreateTemplate(request))
    missing, _ = await refused(rig.templates.GetTemplate(templates.GetTemplateRequest(template_id="t")))

    assert (0, "h\n") == (checked.version, checked.text)
    assert (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND) == (code, missing)


async def test_a_deleted_template_keeps_its_versions_and_goes_on_counting(rig: Rig) -> None:
    await put(rig, html="<p>1")
    second = await put(rig, html="<p>2")
    await rig.templates.DeleteTemplate(templates.DeleteTemplateRequest(template_id="t", etag=second.etag))
    gone, _ = await refused(rig.templates.GetTemplate(templates.GetTemplateRequest(template_id="t")))
    old = await rig.templates.GetTemplate(templates.GetTemplateRequest(template_id="t", version=1))
    again = await put(rig, html="<p>3")
    listing = templates.ListTemplateVersionsRequest(template_id="t")
    versions = (await rig.templates.ListTemplateVersions(listing)).templates

    assert (grpc.StatusCode.NOT_FOUND, "<p>1", 3) == (gone, old.template.html, again.version)
    assert [3, 2, 1] == [one.version for one in versions]


async def test_a_template_that_a_campaign_uses_is_not_deleted(rig: Rig) -> None:
    await rig.put()
    request = templates.DeleteTemplateRequest(template_id="cart")
    code, error = await refused(rig.templates.DeleteTemplate(request))
    await rig.campaigns.DeleteCampaign(campaigns.DeleteCampaignRequest(campaign_id="cart"))
    await rig.templates.DeleteTemplate(request)

    assert (grpc.StatusCode.FAILED_PRECONDITION, "cart") == (code, error.metadata["template_id"])
    assert (await refused(rig.templates.DeleteTemplate(request)))[0] == grpc.StatusCode.NOT_FOUND
    request.allow_missing = True
    await rig.templates.DeleteTemplate(request)


async def test_writers_of_one_campaign_at_the_same_time_make_versions_without_gaps(rig: Rig) -> None:
    await rig.put()
    requests = [
        campaigns.UpdateCampaignRequest(campaign={"campaign_id": "cart", "display_name": f"name {n}"})
        for n in range(8)
    ]

    async def write(request: campaigns.UpdateCampaignRequest) -> int:
        while True:
            try:
                return int((await rig.campaigns.UpdateCampaign(request)).campaign.version)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise

    versions = await asyncio.gather(*map(write, requests))
    listing = campaigns.ListCampaignVersionsRequest(campaign_id="cart")
    stored = (await rig.campaigns.ListCampaignVersions(listing)).campaigns

    assert list(range(2, 10)) == sorted(versions)
    assert {f"name {n}" for n in range(8)} == {one.display_name for one in stored} - {"Your cart"}
    assert list(range(9, 0, -1)) == [one.version for one in stored]


async def test_a_wrong_template_is_refused_with_its_part_and_line(rig: Rig) -> None:
    code, error = await refused(put(rig, html="<p>\n{{ name | shout }}"))

    assert grpc.StatusCode.INVALID_ARGUMENT == code
    assert ("template.html", "line 2: unknown filter 'shout'") == (error.field, error.problem)


async def test_an_unknown_template_is_not_found(rig: Rig) -> None:
    codes = [
        (await refused(rig.templates.GetTemplate(templates.GetTemplateRequest(template_id="t"))))[0],
        (await refused(rig.put(template_id="t", html=" x", subject="s", campaign_id="no id")))[0],
    ]
    campaign = campaign_pb2.Campaign(
        campaign_id="c", segment_id="s", template_id="unknown", sender="a@b.example"
    )
    request = campaigns.CreateCampaignRequest(campaign=campaign)
    codes.append((await refused(rig.campaigns.CreateCampaign(request)))[0])

    missing, invalid = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT
    assert [missing, invalid, missing] == codes


async def test_a_campaign_answers_with_its_defaults_and_can_be_changed(rig: Rig) -> None:
    first = await rig.put()
    second = await rig.put(segment_id="loyal", stream="STREAM_TRANSACTIONAL", max_age=Duration(seconds=5))
    listed = (await rig.campaigns.ListCampaigns(campaigns.ListCampaignsRequest())).campaigns
    read = (await rig.campaigns.GetCampaign(campaigns.GetCampaignRequest(campaign_id="cart"))).campaign

    assert (3600, 86_400, "cart", campaign_pb2.STREAM_MARKETING, 1) == (
        first.max_age.seconds,
        first.expire_after.seconds,
        first.trigger_id,
        first.stream,
        first.version,
    )
    assert [second] == list(listed) == [read]
    assert ("loyal", "", 5, 2) == (
        second.segment_id,
        second.trigger_id,
        second.max_age.seconds,
        second.version,
    )
    assert first.create_time == second.create_time


async def test_an_update_changes_what_its_mask_names(rig: Rig) -> None:
    await rig.put(recommendations=3)
    request = campaigns.UpdateCampaignRequest(
        campaign={"campaign_id": "cart", "display_name": "New", "paused": True},
        update_mask={"paths": ["paused", "recommendations"]},
    )
    changed = (await rig.campaigns.UpdateCampaign(request)).campaign
    request.update_mask.paths.append("version")
    code, error = await refused(rig.campaigns.UpdateCampaign(request))

    assert ("Your cart", True, 0) == (changed.display_name, changed.paused, changed.recommendations)
    assert (grpc.StatusCode.INVALID_ARGUMENT, "update_mask") == (code, error.field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("campaign_id", "No spaces"),
        ("sender", "nobody"),
        ("sender", "Shop <shop@example.com>\nBcc: eve@example.com"),
        ("reply_to", "nobody"),
        ("max_age", Duration(seconds=7 * 86_400 + 1)),
        ("max_age", Duration(seconds=-1)),
        ("expire_after", Duration(seconds=1, nanos=5)),
        ("recommendations", 21),
        ("display_name", "x" * 201),
    ],
)
async def test_a_wrong_campaign_is_refused_with_its_field(rig: Rig, field: str, value: Any) -> None:
    code, error = await refused(rig.put(**{field: value}))

    assert grpc.StatusCode.INVALID_ARGUMENT == code
    assert f"campaign.{field}" == error.field


async def test_a_preview_fills_an_unsaved_template_and_stores_nothing(rig: Rig) -> None:
    template = template_pb2.Template(
        subject="Hi\n {{ profile.traits.name }}", html="<b>{{ profile.traits.name }}</b>"
    )
    request = previews.PreviewTemplateRequest(
        template=template, context_json=b'{"profile": {"traits": {"name": "<Ada>"}}}'
    )
    shown = await rig.previews.PreviewTemplate(request)

    assert ("Hi <Ada>", "<b>&lt;Ada&gt;</b>", "<Ada>\n") == (shown.subject, shown.html, shown.text)
    assert 0 == len((await rig.templates.ListTemplates(templates.ListTemplatesRequest())).templates)


async def test_a_campaign_is_shown_for_one_person_with_an_event_of_the_caller_s(rig: Rig) -> None:
    await rig.put(recommendations=2)
    who = rig.profiles.add(name="Grace")
    shown = await rig.previews.RenderForProfile(
        previews.RenderForProfileRequest(
            campaign_id="cart", profile_id=who, event_properties_json=b'{"product": "A lamp"}'
        )
    )

    assert "A lamp waits, Grace" == shown.subject
    assert "Lamp 1Lamp 2" in shown.html
    assert "/v1/unsubscribe/preview" in orjson.loads(shown.context_json)["unsubscribe_url"]


async def test_a_test_goes_to_whoever_asked_for_it_and_asks_for_nobody_s_consent(rig: Rig) -> None:
    await rig.put(paused=True)
    who = rig.profiles.add(name="Grace")
    rig.profiles.profiles[who].consent["email_marketing"] = False
    request = previews.SendTestRequest(
        campaign_id="cart", profile_id=who, to="Editor@Shop.example", request_id="r1"
    )
    sent = [(await rig.previews.SendTest(request)).message_id for _ in range(2)]
    (granted,) = await rig.deliveries.next(subscriber_of("test", 10, 60, None))
    code, error = await refused(
        rig.previews.SendTest(previews.SendTestRequest(campaign_id="cart", profile_id=who, to="nobody"))
    )

    message = granted.message
    assert sent == [message.message_id] * 2
    assert ("editor@shop.example", True) == (message.address, message.test)
    assert message.content.parts["subject"].startswith("[Test] ")
    assert (grpc.StatusCode.INVALID_ARGUMENT, "to") == (code, error.field)


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
        page = await rig.archive.ListMessages(
            messages.ListMessagesRequest(page_size=2, page_token=token, outcome=message_pb2.OUTCOME_RENDERED)
        )
        seen += [message.profile_id for message in page.messages]
        token, pages = page.next_page_token, pages + 1

    assert (people[::-1], 3) == (seen, pages)
    assert {"OUTCOME_RENDERED": 1, "OUTCOME_MISSED": 1} == await rig.totals(profile_id=people[0])
    assert {"OUTCOME_RENDERED": 5, "OUTCOME_MISSED": 1} == await rig.totals()


async def test_a_list_of_messages_has_no_bodies_and_one_message_has_all(rig: Rig) -> None:
    await rig.put()
    await rig.decide(rig.transition(rig.profiles.add()))
    (listed,) = (await rig.archive.ListMessages(messages.ListMessagesRequest())).messages
    (whole,) = await rig.messages()
    request = messages.GetMessageRequest(message_id=str(uuid.uuid4()))

    assert ("", "", []) == (listed.html, listed.text, list(listed.headers))
    assert listed.subject == whole.subject != ""
    assert all([whole.html, whole.text, whole.headers])
    assert (await refused(rig.archive.GetMessage(request)))[0] == grpc.StatusCode.NOT_FOUND


async def test_names_that_nothing_has_are_warned_of_when_a_template_is_stored_and_shown(rig: Rig) -> None:
    html = "<p>\n{{ user.segment }}"
    created = await rig.templates.CreateTemplate(
        templates.CreateTemplateRequest(template={"template_id": "new", "subject": "s", "html": html})
    )
    updated = await rig.put_template(html=html)
    await rig.put(html=html, subject="s")
    who = rig.profiles.add()
    shown = [
        await rig.previews.PreviewTemplate(
            previews.PreviewTemplateRequest(template={"subject": "s", "html": html})
        ),
        await rig.previews.RenderForProfile(
            previews.RenderForProfileRequest(campaign_id="cart", profile_id=who)
        ),
    ]

    for answer in (created, updated, *shown):
        (warning, of_text) = answer.warnings
        assert ("html", 2, "user.segment", "segments") == (
            warning.part,
            warning.line,
            warning.name,
            warning.suggestions[0],
        )
        # The text part was made from the HTML part.
        assert ("text", "user.segment") == (of_text.part, of_text.name)


async def test_an_unsubscribe_link_is_one_short_line_whatever_the_person_is_called(rig: Rig) -> None:
    await rig.put(html="{{ unsubscribe_url }}")
    who = rig.profiles.add()
    rig.profiles.profiles[who].identifiers.add(kind="IDENTIFIER_KIND_USER_ID", value="客" * 120)
    await rig.decide(rig.transition(who))

    (message,) = await rig.messages()
    (link, _) = message.headers
    assert f"<{message.html}>" == link.value
    assert len(f"List-Unsubscribe: {link.value}") < 200
    assert link.value.isascii()
