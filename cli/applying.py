"""Brings definitions into the services: the same again changes nothing."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Literal, NamedTuple, TypeVar

import grpc

from cli.clients import Clients
from cli.definitions import Definitions
from libs.errors import Invalid, TesseraError
from libs.rpc import error_from
from tessera.render.v1 import render_service_pb2 as render_pb
from tessera.segment.v1 import segment_service_pb2 as segment_pb

Change = Literal["created", "changed", "unchanged"]
Answer = TypeVar("Answer")


class Applied(NamedTuple):
    """What became of one definition."""

    kind: str
    definition_id: str
    change: Change
    version: int


async def apply(clients: Clients, definitions: Definitions) -> AsyncIterator[Applied]:
    """Put everything, what campaigns refer to first; the error names the file and the entry."""
    segment, render = await clients.segment(), await clients.render()
    before: Mapping[str, int]
    before = {
        s.segment_id: s.version
        for s in (await segment.ListSegments(segment_pb.ListSegmentsRequest())).segments
    }
    for one in definitions.segments:
        put = await _named(one.place, segment.PutSegment(segment_pb.PutSegmentRequest(segment=one.message)))
        version = put.segment.version
        yield Applied("segment", one.definition_id, _change(before, one.definition_id, version), version)
    before = {
        t.trigger_id: t.version
        for t in (await segment.ListTriggers(segment_pb.ListTriggersRequest())).triggers
    }
    for two in definitions.triggers:
        answer = await _named(
            two.place, segment.PutTrigger(segment_pb.PutTriggerRequest(trigger=two.message))
        )
        version = answer.trigger.version
        yield Applied("trigger", two.definition_id, _change(before, two.definition_id, version), version)
    before = {
        t.template_id: t.version
        for t in (await render.ListTemplates(render_pb.ListTemplatesRequest())).templates
    }
    for three in definitions.templates:
        stored = await _named(
            three.place, render.PutTemplate(render_pb.PutTemplateRequest(template=three.message))
        )
        version = stored.template.version
        yield Applied("template", three.definition_id, _change(before, three.definition_id, version), version)
    campaigns = {
        c.campaign_id: c for c in (await render.ListCampaigns(render_pb.ListCampaignsRequest())).campaigns
    }
    for four in definitions.campaigns:
        made = await _named(
            four.place, render.PutCampaign(render_pb.PutCampaignRequest(campaign=four.message))
        )
        known = campaigns.get(four.definition_id)
        change: Change = "created" if known is None else "unchanged" if known == made.campaign else "changed"
        yield Applied("campaign", four.definition_id, change, 0)


def _change(before: Mapping[str, int], definition_id: str, version: int) -> Change:
    if definition_id not in before:
        return "created"
    return "unchanged" if before[definition_id] == version else "changed"


async def _named(place: str, call: Awaitable[Answer]) -> Answer:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        problem = error_from(error)
        if isinstance(problem, Invalid):
            raise Invalid(place, f"{problem.field}: {problem.problem}") from None
        raise TesseraError(f"{place}: {problem.message}") from None
