"""Between the contract's messages and profiles as they stand."""

import msgspec

from libs.errors import Required
from libs.times import timestamp
from services.profile.consent.model import Choice
from services.profile.identity.model import (
    ANONYMOUS_ID,
    EMAIL,
    PHONE,
    USER_ID,
    Profile,
    address_of,
    kind_of,
    strongest_first,
)
from tessera.profile.v1 import profile_pb2

_KINDS = {
    USER_ID: profile_pb2.IDENTIFIER_KIND_USER_ID,
    EMAIL: profile_pb2.IDENTIFIER_KIND_EMAIL,
    PHONE: profile_pb2.IDENTIFIER_KIND_PHONE,
    ANONYMOUS_ID: profile_pb2.IDENTIFIER_KIND_ANONYMOUS_ID,
}
_LETTERS: dict[int, str] = {kind: letter for letter, kind in _KINDS.items()}
# Values stay the JSON that they came as: a number that is read and written again may lose digits.
_encode_traits = msgspec.json.Encoder(order="sorted").encode


def identifier_of(pb: profile_pb2.Identifier) -> str:
    """From the contract: kind and value as they were sent; Required where one is missing."""
    kind = _LETTERS.get(pb.kind)
    if kind is None:
        raise Required("identifier.kind", "is required: user id, email, phone or anonymous id")
    return f"{kind}:{pb.value}"


def identifier_pb(identifier: str) -> profile_pb2.Identifier:
    """To the contract."""
    return profile_pb2.Identifier(kind=_KINDS[kind_of(identifier)], value=identifier[2:])


def profile_pb(profile: Profile) -> profile_pb2.Profile:
    """To the contract."""
    traits = {name: msgspec.Raw(t.value) for name, t in profile.traits.items() if t.value is not None}
    return profile_pb2.Profile(
        profile_id=profile.profile_id,
        revision=profile.revision,
        identifiers=[identifier_pb(i) for i in strongest_first(profile.identifiers)],
        traits_json=_encode_traits(traits),
        consent={purpose: choice.granted for purpose, choice in profile.consent.items()},
        consent_details={purpose: _consent_pb(choice) for purpose, choice in profile.consent.items()},
        event_count=profile.events,
        create_time=timestamp(profile.created),
        absorbed_profile_ids=profile.absorbed,
        email=address_of(profile, EMAIL) or "",
        phone=address_of(profile, PHONE) or "",
    )


def _consent_pb(choice: Choice) -> profile_pb2.Consent:
    said = choice.holds
    server, browser = profile_pb2.CONSENT_SOURCE_SERVER, profile_pb2.CONSENT_SOURCE_BROWSER
    return profile_pb2.Consent(
        granted=choice.granted,
        time=timestamp(said.moment),
        source=server if said.trusted else browser,
        proof=profile_pb2.ConsentProof(event_id=said.event_id),
    )
