"""Between the contracts' messages and the model."""

from collections.abc import Iterable

from google.protobuf.duration_pb2 import Duration

from libs.etags import etag_of
from libs.times import timestamp
from services.segment.model import Advice
from services.segment.triggers.model import TriggerDefinition, TriggerMode, TriggerVersion
from tessera.segment.v1 import segment_pb2, trigger_pb2

UPDATABLE = (
    "display_name",
    "event_name",
    "unless_event_names",
    "delay",
    "condition",
    "mode",
    "withdraw_when_answered",
)
_MODES = {
    TriggerMode.LAST_EVENT: trigger_pb2.TRIGGER_MODE_LAST_EVENT,
    TriggerMode.EACH_EVENT: trigger_pb2.TRIGGER_MODE_EACH_EVENT,
}
_MODES_OF = {pb: mode for mode, pb in _MODES.items()}


def trigger_of(pb: trigger_pb2.Trigger) -> TriggerDefinition:
    """A trigger to create or change; a mode that is not known yet counts as none."""
    return TriggerDefinition(
        pb.trigger_id,
        pb.display_name,
        pb.event_name,
        tuple(pb.unless_event_names),
        pb.delay.seconds * 1_000_000 + pb.delay.nanos // 1000,
        pb.condition,
        mode=_MODES_OF.get(pb.mode, TriggerMode.LAST_EVENT),
        withdraws=pb.withdraw_when_answered,
    )


def definition_pb(definition: TriggerDefinition) -> trigger_pb2.Trigger:
    """To the contract: what callers say of it."""
    seconds, rest = divmod(definition.delay, 1_000_000)
    return trigger_pb2.Trigger(
        trigger_id=definition.trigger_id,
        display_name=definition.display_name,
        event_name=definition.event_name,
        unless_event_names=definition.unless,
        delay=Duration(seconds=seconds, nanos=rest * 1000),
        condition=definition.condition,
        mode=_MODES[definition.mode],
        withdraw_when_answered=definition.withdraws,
    )


def trigger_pb(definition: TriggerDefinition) -> trigger_pb2.Trigger:
    """To the contract: all of it."""
    pb = definition_pb(definition)
    pb.version = definition.version
    active = definition.active
    pb.state = segment_pb2.DEFINITION_STATE_ACTIVE if active else segment_pb2.DEFINITION_STATE_BUILDING
    pb.create_time.CopyFrom(timestamp(definition.created))
    pb.update_time.CopyFrom(timestamp(definition.updated))
    pb.etag = trigger_etag(definition)
    pb.backfill_operation_id = definition.backfill
    return pb


def trigger_etag(definition: TriggerDefinition) -> str:
    """Another one after every change; a trigger that is made anew has none of its predecessor's."""
    return etag_of(definition.trigger_id, definition.created, definition.version)


def version_pb(version: TriggerVersion) -> trigger_pb2.TriggerVersion:
    """To the contract."""
    pb = definition_pb(version.definition)
    pb.version = version.version
    pb.update_time.CopyFrom(timestamp(version.created))
    return trigger_pb2.TriggerVersion(trigger=pb)


def warnings_pb(warnings: Iterable[Advice]) -> list[segment_pb2.Warning]:
    """To the contract."""
    return [
        segment_pb2.Warning(field=w.field, reason=w.reason, message=w.message, name=w.name, nearest=w.nearest)
        for w in warnings
    ]
