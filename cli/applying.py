"""Brings definitions into the services: the same again changes nothing."""

from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Literal, NamedTuple, TypeVar

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from cli.clients import Clients
from cli.definitions import Definitions
from cli.formats import warning_text
from cli.pages import pages
from libs.errors import Invalid, TesseraError
from libs.rpc import error_from
from tessera.render.v1 import campaign_service_pb2 as campaign_pb
from tessera.render.v1 import template_service_pb2 as template_pb
from tessera.segment.v1 import segment_service_pb2 as segment_pb
from tessera.segment.v1 import trigger_service_pb2 as trigger_pb

Change = Literal["created", "changed", "unchanged"]
Answer = TypeVar("Answer")

_EVERYTHING = FieldMask(paths=["*"])


class Applied(NamedTuple):
    """What became of one definition."""

    kind: str
    definition_id: str
    change: Change
    version: int
    warnings: tuple[str, ...] = ()
    """What is probably a mistake, in sentences for people."""


async def apply(clients: Clients, definitions: Definitions) -> AsyncIterator[Applied]:
    """Put everything, what campaigns refer to first; the error names the file and the entry."""
    before: dict[str, int] = {}
    segment = await clients.segment()
    async for listed in pages(segment.ListSegments, segment_pb.ListSegmentsRequest()):
        before |= {s.segment_id: s.version for s in listed.segments}
    for one in definitions.segments:
        put = segment_pb.UpdateSegmentRequest(
            segment=one.message, update_mask=_EVERYTHING, allow_missing=True
        )
        kept = await _named(one.place, segment.UpdateSegment(put))
        version = kept.segment.version
        change = _change(before, one.definition_id, version)
        warnings = tuple(f"{warning.field}: {warning.message}" for warning in kept.warnings)
        yield Applied("segment", one.definition_id, change, version, warnings)
    trigger, before = await clients.triggers(), {}
    async for each in pages(trigger.ListTriggers, trigger_pb.ListTriggersRequest()):
        before |= {t.trigger_id: t.version for t in each.triggers}
    for two in definitions.triggers:
        asked = trigger_pb.UpdateTriggerRequest(
            trigger=two.message, update_mask=_EVERYTHING, allow_missing=True
        )
        answer = await _named(two.place, trigger.UpdateTrigger(asked))
        version = answer.trigger.version
        change = _change(before, two.definition_id, version)
        warnings = tuple(f"{warning.field}: {warning.message}" for warning in answer.warnings)
        yield Applied("trigger", two.definition_id, change, version, warnings)
    templates, before = await clients.templates(), {}
    async for page in pages(templates.ListTemplates, template_pb.ListTemplatesRequest()):
        before |= {t.template_id: t.version for t in page.templates}
    for three in definitions.templates:
        update = template_pb.UpdateTemplateRequest(
            template=three.message, update_mask=_EVERYTHING, allow_missing=True
        )
        stored = await _named(three.place, templates.UpdateTemplate(update))
        version = stored.template.version
        change = _change(before, three.definition_id, version)
        warnings = tuple(warning_text(warning) for warning in stored.warnings)
        yield Applied("template", three.definition_id, change, version, warnings)
    campaigns, before = await clients.campaigns(), {}
    async for found in pages(campaigns.ListCampaigns, campaign_pb.ListCampaignsRequest()):
        before |= {c.campaign_id: c.version for c in found.campaigns}
    for four in definitions.campaigns:
        wanted = campaign_pb.UpdateCampaignRequest(
            campaign=four.message, update_mask=_EVERYTHING, allow_missing=True
        )
        version = (await _named(four.place, campaigns.UpdateCampaign(wanted))).campaign.version
        yield Applied("campaign", four.definition_id, _change(before, four.definition_id, version), version)


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
