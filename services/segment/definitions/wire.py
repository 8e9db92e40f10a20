"""Between the contracts' messages and the model."""

from collections.abc import Iterable

from libs.etags import etag_of
from libs.times import timestamp
from services.segment.definitions.model import SegmentDefinition, SegmentVersion
from services.segment.model import Advice
from tessera.segment.v1 import segment_pb2

UPDATABLE = ("display_name", "expression")


def segment_of(pb: segment_pb2.Segment) -> SegmentDefinition:
    """A segment to create or change."""
    return SegmentDefinition(pb.segment_id, pb.display_name, pb.expression)


def segment_pb(definition: SegmentDefinition) -> segment_pb2.Segment:
    """To the contract."""
    active = definition.active
    return segment_pb2.Segment(
        segment_id=definition.segment_id,
        display_name=definition.display_name,
        expression=definition.expression,
        version=definition.version,
        state=segment_pb2.DEFINITION_STATE_ACTIVE if active else segment_pb2.DEFINITION_STATE_BUILDING,
        member_count=definition.members,
        create_time=timestamp(definition.created),
        update_time=timestamp(definition.updated),
        etag=segment_etag(definition),
        backfill_operation_id=definition.backfill,
    )


def segment_etag(definition: SegmentDefinition) -> str:
    """Another one after every change; a segment that is made anew has none of its predecessor's."""
    return etag_of(definition.segment_id, definition.created, definition.version)


def version_pb(version: SegmentVersion) -> segment_pb2.SegmentVersion:
    """To the contract."""
    return segment_pb2.SegmentVersion(
        version=version.version,
        display_name=version.display_name,
        expression=version.expression,
        create_time=timestamp(version.created),
    )


def warnings_pb(warnings: Iterable[Advice]) -> list[segment_pb2.Warning]:
    """To the contract."""
    return [
        segment_pb2.Warning(field=w.field, reason=w.reason, message=w.message, name=w.name, nearest=w.nearest)
        for w in warnings
    ]
