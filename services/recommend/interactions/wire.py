"""Between profile's contracts and the model."""

from typing import Any

import orjson

from libs.times import micros
from services.recommend.catalog.model import Statements, merged, statements_of
from services.recommend.interactions.model import EVENT_NAMES, Touch, Update, touches_of
from tessera.ingest.v1 import event_pb2
from tessera.profile.v1 import history_pb2, profile_events_pb2


def update_of(step: profile_events_pb2.ProfileUpdated | history_pb2.HistoryStep) -> Update:
    """A step, from the stream or from a history."""
    touches: list[Touch] = []
    said: list[Statements] = []
    for event in step.events:
        if event.type != event_pb2.EVENT_TYPE_TRACK or event.name not in EVENT_NAMES:
            continue
        properties = _object(event.properties_json)
        time = micros(event.event_time)
        trusted = event.source_kind == event_pb2.SOURCE_KIND_SERVER
        touches += touches_of(event.name, properties, time, event.event_id)
        said.append(statements_of(event.name, properties, time, trusted))
    return Update(step.profile_id, step.revision, step.merged_into or None, touches, merged(said))


def _object(properties_json: bytes) -> dict[str, Any]:
    """Properties; none where they are not a JSON object, so that an event's dirt costs itself alone."""
    try:
        properties = orjson.loads(properties_json) if properties_json else {}
    except orjson.JSONDecodeError:
        return {}
    return properties if isinstance(properties, dict) else {}
