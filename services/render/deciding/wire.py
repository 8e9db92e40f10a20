"""Between the other services' contracts and ours."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from libs.errors import Invalid
from libs.ids import uuid_text
from libs.messaging import Record
from libs.money import amount_of
from libs.times import micros
from services.render.campaigns.model import Start
from services.render.deciding.model import Advice, Wish, Withdrawal
from services.render.delivery.model import Cause, Decision, Message, Outcome
from services.render.model.people import Person
from tessera.profile.v1 import profile_pb2
from tessera.recommend.v1 import recommend_service_pb2, recommendation_pb2
from tessera.segment.v1 import segment_events_pb2

_STARTS = {
    segment_events_pb2.TRANSITION_KIND_ENTERED: Start.SEGMENT,
    segment_events_pb2.TRANSITION_KIND_TRIGGERED: Start.TRIGGER,
}
_CAUSES = frozenset({*_STARTS, segment_events_pb2.TRANSITION_KIND_WITHDRAWN})
# Unlike others it keeps whole numbers of any length.
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def cause_of(record: bytes, traceparent: str) -> Cause | Withdrawal | None:
    """What a record of `tessera.segment.transitions` begins or ends; None for what concerns nobody here."""
    try:
        found = segment_events_pb2.TransitionOccurred.FromString(record)
    except DecodeError as error:
        raise Invalid("record", f"not a TransitionOccurred: {error}") from error
    if not found.cause_id and found.kind in _CAUSES:
        raise Invalid("cause_id", "is required")
    if found.kind == segment_events_pb2.TRANSITION_KIND_WITHDRAWN:
        return Withdrawal(found.definition_id, found.cause_id)
    start = _STARTS.get(found.kind)
    if start is None:
        return None
    return Cause(
        profile_id=uuid_text(found.profile_id, "profile_id"),
        profile_revision=found.profile_revision,
        start=start,
        definition_id=found.definition_id,
        cause_id=found.cause_id,
        time=micros(found.time),
        event=found.event_properties_json,
        event_name=found.event_name,
        trusted=found.trusted,
        traceparent=traceparent,
    )


def records_of(stored: Sequence[Decision], encode: Callable[[Message], tuple[str, bytes]]) -> list[Record]:
    """The records of the messages among decisions; `encode` gives a record's type and value."""
    return [_record(one, *encode(one.message)) for one in stored if one.outcome is Outcome.RENDERED]


def _record(decision: Decision, kind: str, value: bytes) -> Record:
    return Record(
        key=decision.cause.profile_id.encode(),
        type=kind,
        value=value,
        time=decision.time,
        headers={"traceparent": decision.cause.traceparent} if decision.cause.traceparent else None,
    )


def person_of(profile: profile_pb2.Profile) -> Person:
    """From profile's contract."""
    try:
        traits = _decode(profile.traits_json) if profile.traits_json else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return unreadable(profile.profile_id, f"the traits are no JSON object: {error}")
    leading = [i.value for i in profile.identifiers if i.kind == profile_pb2.IDENTIFIER_KIND_EMAIL]
    # Profile says where mail goes: to none of them, where the person has taken the address back.
    emails = [profile.email, *(address for address in leading if address != profile.email)]
    emails = emails if profile.email else []
    user_ids = (i.value for i in profile.identifiers if i.kind == profile_pb2.IDENTIFIER_KIND_USER_ID)
    consent = dict(profile.consent)
    return Person(profile.profile_id, profile.revision, traits, consent, emails, next(user_ids, ""))


def unreadable(profile_id: str, reason: str) -> Person:
    """Somebody of whom no more than the id is known."""
    return Person(profile_id, 0, {}, {}, [], unreadable=f"the profile can't be read: {reason}")


def request_of(wish: Wish) -> recommend_service_pb2.RecommendRequest:
    """What recommend is asked for one mail."""
    return recommend_service_pb2.RecommendRequest(
        profile_id=wish.profile_id,
        limit=wish.limit,
        exclude_purchased=True,
        exclude_in_cart=True,
        exclude_product_ids=wish.except_products,
    )


def advice_of(response: recommend_service_pb2.RecommendResponse) -> Advice:
    """From recommend's contract, as templates see it."""
    return Advice([_recommended(one) for one in response.recommendations], response.model_version)


def _recommended(one: recommendation_pb2.Recommendation) -> Mapping[str, Any]:
    product = one.product
    told = {field.name for field, _ in product.ListFields()}
    texts = ("name", "url", "image_url", "category")
    known = {name: getattr(product, name) if name in told else None for name in texts}
    return {
        "product_id": product.product_id,
        **known,
        "price": float(amount_of(product.price)) if product.HasField("price") else None,
        "currency": product.price.currency_code or None,
        "reason": _REASONS.get(one.reason),
    }


_REASONS = {
    recommendation_pb2.RECOMMENDATION_REASON_SIMILAR: "similar",
    recommendation_pb2.RECOMMENDATION_REASON_POPULAR: "popular",
}
