"""Between profile's contracts and the model."""

from typing import Any

import orjson
from google.protobuf.message import DecodeError

from libs.errors import Invalid
from libs.times import micros
from services.recommend.catalog.model import Statements, merged, statements_of
from services.recommend.interactions.model import EVENT_NAMES, Touch, Update, touches_of
from services.recommend.interactions.ports import History
from tessera.ingest.v1 import event_pb2
from tessera.profile.v1 import history_pb2, history_service_pb2, profile_events_pb2

UPDATED = "tessera.profile.v1.ProfileUpdated"


def update_of(record: bytes) -> Update:
    """A step from the record of `tessera.profile.updates`; Invalid where it can't be read."""
    try:
        return _update(profile_events_pb2.ProfileUpdated.FromString(record))
    except DecodeError as error:
        raise Invalid("record", f"not a ProfileUpdated: {error}") from error


def history_of(part: history_service_pb2.ReadHistoryResponse) -> History:
    """A part of a history."""
    revision = part.revision if part.HasField("revision") else None
    return History(part.profile_id, [_update(update) for update in part.steps], revision)


def _update(update: profile_events_pb2.ProfileUpdated | history_pb2.HistoryStep) -> Update:
    touches: list[Touch] = []
    said: list[Statements] = []
    for event in update.events:
        if event.type != event_pb2.EVENT_TYPE_TRACK or event.name not in EVENT_NAMES:
            continue
        properties = _object(event.properties_json)
        time = micros(event.event_time)
        trusted = event.source_kind == event_pb2.SOURCE_KIND_SERVER
        touches += touches_of(event.name, properties, time, event.event_id)
        said.append(statements_of(event.name, properties, time, trusted))
    return Update(update.profile_id, update.revision, update.merged_into or None, touches, merged(said))


def _object(properties_json: bytes) -> dict[str, Any]:
    """Properties; none where they are not a JSON object, so that an event's dirt costs itself alone."""
    try:
        properties = orjson.loads(properties_json) if properties_json else {}
    except orjson.JSONDecodeError:
        return {}
    return properties if isinstance(properties, dict) else {}
