"""Between the contracts' messages and the domain."""

from collections.abc import Mapping, Sequence

import orjson
from google.protobuf.message import DecodeError

from libs.errors import Invalid
from libs.ids import uuid_texts
from libs.times import micros, timestamp
from services.recommend.domain import (
    EVENT_NAMES,
    Product,
    Ranking,
    Seen,
    Update,
    latest_facts,
    read_event,
)
from services.recommend.ports import History, ModelInfo
from tessera.ingest.v1 import event_pb2, ingest_events_pb2
from tessera.profile.v1 import profile_events_pb2, profile_service_pb2
from tessera.recommend.v1 import model_pb2
from tessera.recommend.v1 import recommend_service_pb2 as pb

UPDATED = "tessera.profile.v1.ProfileUpdated"

_DEFAULT_LIMIT, _MOST = 10, 100


def update_of(record: bytes) -> Update:
    """A step from the record of `tessera.profile.updates`; Invalid where it can't be read."""
    try:
        return _update(profile_events_pb2.ProfileUpdated.FromString(record))
    except DecodeError as error:
        raise Invalid("record", f"not a ProfileUpdated: {error}") from error


def history_of(part: profile_service_pb2.ReadHistoryResponse) -> History:
    """A part of a history."""
    revision = part.revision if part.HasField("revision") else None
    return History(part.profile_id, [_update(update) for update in part.updates], revision)


def _update(update: profile_events_pb2.ProfileUpdated) -> Update:
    seen = [
        _seen(event)
        for event in update.events
        if event.type == event_pb2.EVENT_TYPE_TRACK and event.name in EVENT_NAMES
    ]
    return Update(
        update.profile_id,
        update.revision,
        update.merged_into or None,
        [touch for one in seen for touch in one.touches],
        latest_facts(one.facts for one in seen),
    )


def _seen(event: ingest_events_pb2.EventCollected) -> Seen:
    properties = orjson.loads(event.properties_json) if event.properties_json else None
    if not isinstance(properties, dict):
        return Seen()
    return read_event(event.name, properties, micros(event.event_time), event.event_id)


def limit_of(asked: int) -> int:
    """How many to recommend; Invalid for a negative number."""
    if asked < 0:
        raise Invalid("limit", "must not be negative")
    return min(asked or _DEFAULT_LIMIT, _MOST)


def profile_ids(values: Sequence[str]) -> dict[str, str]:
    """The normal forms of ids, by the ids as they were asked for."""
    return dict(zip(values, uuid_texts(values, "profile_ids", 500), strict=True))


def recommend_pb(ranking: Ranking, products: Mapping[str, Product]) -> pb.RecommendResponse:
    """To the contract."""
    return pb.RecommendResponse(
        recommendations=[
            model_pb2.Recommendation(
                product=_product_pb(products.get(scored.product_id) or Product(scored.product_id)),
                score=scored.score,
                reason="similar" if scored.similar else "popular",
            )
            for scored in ranking.scored
        ],
        model_version=ranking.model_version,
    )


def _product_pb(product: Product) -> model_pb2.Product:
    return model_pb2.Product(
        product_id=product.product_id,
        name=product.name,
        price=product.price,
        url=product.url,
        image_url=product.image_url,
        category=product.category,
    )


def model_pb(model: ModelInfo) -> model_pb2.Model:
    """To the contract."""
    return model_pb2.Model(
        version=model.version,
        create_time=timestamp(model.create_time),
        interactions=model.interactions,
        profiles=model.profiles,
        products=model.products,
        metrics=dict(model.metrics),
    )
