"""The rules by which it is decided whether there is a message, and what its template is filled with."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec

from libs.errors import Malformed
from services.render.campaigns.model import Campaign
from services.render.delivery.model import Cause
from services.render.model import MICROS
from services.render.model.people import Person, Stream, forbidden_because

# What a message remembers of its event: for people to read, not to compute with.
_MOST_EVENT = 16 << 10
# What recommend takes.
_MOST_PRODUCT_ID, _MOST_PRODUCTS = 255, 500

# Unlike others they keep whole numbers of any length.
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What a trigger waited for has come after it had fired: what it has started is to stop."""

    definition_id: str
    cause_id: bytes


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be recommended in one mail."""

    profile_id: str
    limit: int
    except_products: Sequence[str] = ()
    """What the mail itself is about."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What recommend says."""

    recommendations: Sequence[Mapping[str, Any]] = ()
    model_version: int = 0


def matching(campaigns: Sequence[Campaign], cause: Cause) -> list[Campaign]:
    """The campaigns that a cause starts."""
    return [
        c
        for c in campaigns
        if not c.paused and (c.start, c.definition_id) == (cause.start, cause.definition_id)
    ]


def missed_because(campaign: Campaign, cause: Cause, now: int) -> str | None:
    """Why it is too late for this cause; None where it is not."""
    age = now - cause.time
    if age <= campaign.max_age_seconds * MICROS:
        return None
    return f"the cause was {_span(age // MICROS)} old; the campaign allows {_span(campaign.max_age_seconds)}"


def _span(seconds: int) -> str:
    """In the largest unit of which there are two at least, such as `37 d` or `90 min`."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def distrusted_because(campaign: Campaign, cause: Cause) -> str | None:
    """Why this cause may not start the campaign; None where it may.

    With a browser's key anybody can say that somebody has bought something. Mail that needs no consent
    would then be whatever a stranger wants it to be.
    """
    if cause.trusted or campaign.accept_untrusted or campaign.stream is not Stream.TRANSACTIONAL:
        return None
    return "the deciding event came with a public key, which the campaign does not accept"


def suppressed_because(campaign: Campaign, person: Person | None) -> str | None:
    """Why nothing may be sent; None where it may."""
    if person is None:
        return "nobody has this profile any more"
    if person.address is None:
        return "no email address"
    return forbidden_because(campaign.stream, person)


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a template is filled with."""

    person: Person
    segments: Sequence[str] = ()
    advice: Advice = field(default_factory=Advice)
    event: bytes = b""
    campaign_id: str = ""
    campaign_name: str = ""
    unsubscribe_url: str = ""


def context_of(ingredients: Ingredients) -> bytes:
    """The template's context as canonical JSON: the same inputs give the same bytes.

    Invalid where the event is no JSON.
    """
    person = ingredients.person
    context = {
        "profile": {"id": person.profile_id, "traits": person.traits},
        "segments": sorted(ingredients.segments),
        "recommendations": list(ingredients.advice.recommendations),
        "event": _properties_of(ingredients.event),
        "campaign": {"id": ingredients.campaign_id, "name": ingredients.campaign_name},
        # In Liquid an empty text is true: `{% if unsubscribe_url %}` asks for nothing at all.
        "unsubscribe_url": ingredients.unsubscribe_url or None,
    }
    return _encode(context)


def _properties_of(event: bytes) -> Any:
    try:
        return _decode(event) if event else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("event", f"is not valid JSON: {error}") from None


def products_in(event: bytes) -> list[str]:
    """The ids of the products that an event is about, wherever in it they stand; its own come first."""
    try:
        level: list[object] = [_properties_of(event)]
    except Malformed:
        return []
    found: dict[str, None] = {}
    # By levels rather than by recursion: an event may be nested as deeply as JSON can.
    while level and len(found) < _MOST_PRODUCTS:
        objects = [value for value in level if isinstance(value, dict)]
        named = (value for item in objects for value in (item.get("product_id"), item.get("product_ids")))
        ids = chain.from_iterable(value if isinstance(value, list) else [value] for value in named)
        found |= dict.fromkeys(one for one in map(_product_id, ids) if 0 < len(one) <= _MOST_PRODUCT_ID)
        lists = (value for value in level if isinstance(value, list))
        level = list(chain(chain.from_iterable(lists), *(item.values() for item in objects)))
    return list(found)[:_MOST_PRODUCTS]


def _product_id(value: object) -> str:
    """A number counts as its digits, also where somebody's program wrote 12.0; empty where it names none."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def hash_of(context: bytes) -> bytes:
    """What names a context in the message's explanation."""
    return hashlib.sha256(context).digest()


def remembered_event(event: bytes) -> bytes:
    """What a message keeps of the deciding event's properties: nothing where there are too many."""
    return event if len(event) <= _MOST_EVENT else b""
