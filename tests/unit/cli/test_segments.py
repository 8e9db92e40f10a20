"""`tessera segments` and `tessera triggers`, and what `tessera apply` warns of."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import main
from cli.commands.segments import fires
from libs.errors import Invalid
from tessera.render.v1 import campaign_service_pb2 as campaign_pb
from tessera.render.v1 import template_service_pb2 as template_pb
from tessera.render.v1.template_pb2 import Template, TemplateWarning
from tessera.segment.v1 import segment_pb2
from tessera.segment.v1 import segment_service_pb2 as segment_pb
from tessera.segment.v1 import trigger_service_pb2 as trigger_pb
from tessera.segment.v1.segment_pb2 import Segment, SegmentVersion
from tessera.segment.v1.trigger_pb2 import (
    TRIGGER_MODE_EACH_EVENT,
    TRIGGER_MODE_LAST_EVENT,
    Trigger,
    TriggerVersion,
)
from tests.unit.cli.served import Served

_RULE = 'events("Order Complete").count() == 0'


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main.app, arguments)


def _trigger(seconds: int, mode: int, *unless: str) -> Trigger:
    trigger = Trigger(event_name="Product Added", unless_event_names=unless, mode=mode)  # type: ignore[arg-type]
    trigger.delay.FromSeconds(seconds)
    return trigger


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (
            _trigger(3600, TRIGGER_MODE_LAST_EVENT, "Bought"),
            "1 h after the last Product Added without Bought",
        ),
        (_trigger(90, TRIGGER_MODE_EACH_EVENT, "A", "B"), "90 s after each Product Added without A or B"),
        (_trigger(0, TRIGGER_MODE_EACH_EVENT), "at each Product Added"),
        (_trigger(172_800, TRIGGER_MODE_LAST_EVENT), "2 d after the last Product Added"),
    ],
)
def test_a_trigger_is_told_in_words(trigger: Trigger, words: str) -> None:
    assert words == fires(trigger)


def test_triggers_are_listed_shown_and_deleted(served: Served) -> None:
    trigger = _trigger(3600, TRIGGER_MODE_LAST_EVENT, "Bought")
    trigger.trigger_id, trigger.version, trigger.condition = "cart", 2, "true"
    served.answer(
        "tessera.segment.v1.TriggerService",
        ListTriggers=lambda _: trigger_pb.ListTriggersResponse(triggers=[trigger]),
        GetTrigger=lambda _: trigger_pb.GetTriggerResponse(trigger=trigger),
        ListTriggerVersions=lambda _: trigger_pb.ListTriggerVersionsResponse(
            versions=[TriggerVersion(trigger=trigger)]
        ),
        DeleteTrigger=lambda _: trigger_pb.DeleteTriggerResponse(),
    )

    assert "cart" in _run("triggers", "list").stdout
    assert "only if" in _run("triggers", "show", "cart").stdout
    assert "1 h after the last" in _run("triggers", "versions", "cart").stdout
    assert isinstance(_run("triggers", "delete", "cart").exception, Invalid)
    assert "cart is deleted" in _run("triggers", "delete", "cart", "--yes").stdout


def test_segments_are_shown_with_their_versions_and_deleted(served: Served) -> None:
    served.answer(
        "tessera.segment.v1.SegmentService",
        GetSegment=lambda _: segment_pb.GetSegmentResponse(
            segment=Segment(segment_id="lapsed", expression=_RULE, member_count=1234, version=2)
        ),
        ListSegmentVersions=lambda _: segment_pb.ListSegmentVersionsResponse(
            versions=[
                SegmentVersion(version=2, expression=_RULE),
                SegmentVersion(version=1, expression="true"),
            ]
        ),
        DeleteSegment=lambda _: segment_pb.DeleteSegmentResponse(),
    )
    shown = _run("segments", "show", "lapsed").stdout

    assert _RULE in shown
    assert "1,234" in shown
    assert "true" in _run("segments", "versions", "lapsed").stdout
    assert "lapsed is deleted" in _run("segments", "delete", "lapsed", "-y").stdout


def test_apply_tells_the_warnings_of_the_services(served: Served, tmp_path: Path) -> None:
    (tmp_path / "segments.toml").write_text(f"[[segments]]\nsegment_id = 'quiet'\nexpression = '{_RULE}'\n")
    template = tmp_path / "templates" / "hello"
    template.mkdir(parents=True)
    (template / "subject.liquid").write_text("{{ user.name }}")
    (template / "html.liquid").write_text("<p>")
    unseen = segment_pb2.Warning(
        field="segment.expression",
        message="no event 'Order Complete' has come yet; did you mean 'Order Completed'?",
        name="Order Complete",
        nearest=["Order Completed"],
    )
    unknown = TemplateWarning(
        part="subject", line=1, message="nothing has the name user; did you mean profile?"
    )
    served.answer(
        "tessera.segment.v1.SegmentService",
        ListSegments=lambda _: segment_pb.ListSegmentsResponse(),
        UpdateSegment=lambda _: segment_pb.UpdateSegmentResponse(
            segment=Segment(segment_id="quiet", version=1), warnings=[unseen]
        ),
    )
    served.answer(
        "tessera.segment.v1.TriggerService", ListTriggers=lambda _: trigger_pb.ListTriggersResponse()
    )
    served.answer(
        "tessera.render.v1.TemplateService",
        ListTemplates=lambda _: template_pb.ListTemplatesResponse(),
        UpdateTemplate=lambda _: template_pb.UpdateTemplateResponse(
            template=Template(template_id="hello", version=1), warnings=[unknown]
        ),
    )
    served.answer(
        "tessera.render.v1.CampaignService", ListCampaigns=lambda _: campaign_pb.ListCampaignsResponse()
    )
    result = _run("apply", str(tmp_path))

    assert 0 == result.exit_code
    assert "segment quiet, segment.expression: no event 'Order Complete' has come yet; did" in result.stderr
    assert "template hello, subject line 1: nothing has the name user; did you mean profile?" in result.stderr
