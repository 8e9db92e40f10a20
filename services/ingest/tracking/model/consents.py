"""What an event says of consent, in whichever form its SDK states it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from libs.errors import Invalid, Malformed, TooLarge
from libs.tracking.calls import Call, LeftOut

_MOST_GRANTS: Final = 20
MOST_ID: Final = 255
ANALYTICS: Final = "analytics"
EMAIL_MARKETING: Final = "email_marketing"
_KNOWN_PURPOSES: Final = (ANALYTICS, "personalization", EMAIL_MARKETING)
_TRACK: Final = "track"
# What these say about consent, whoever sends them.
WITHDRAWALS: Final = frozenset({"Unsubscribed", "Email Marked as Spam"})
# How else programs write false, without what they set words off by. Nothing but true grants.
_DENIALS: Final = frozenset(
    "false f no n nein non nee nej off deny denied decline declined reject rejected refuse refused"
    " revoke revoked withdraw withdrawn disable disabled disallow disallowed disagree disagreed block blocked"
    " optout optedout unsubscribe unsubscribed notgranted".split()
)
_BETWEEN_WORDS: Final = re.compile(r"[\s_.\-]+")
# PHP writes an object without members as an empty list, and other programs one that they lack as a text.
NOTHING: Final[tuple[Any, ...]] = (None, [], "")
_PREFERENCES: Final = ("categoryPreferences", "category_preferences")
_DENIED: Final = "context.consentManagement.deniedConsentIds"


def consent_of(
    call: Call, context: Mapping[str, Any], left_out: list[LeftOut]
) -> tuple[Mapping[str, bool], int]:
    """What the event itself says of consent, and how many grants were over the limit.

    A source's default is nobody's statement. A denial is never lost: not to a limit, not to a purpose beside
    it that can't be read.
    """
    consent = _joined(call.consent.items())
    place = "consent"
    if "consent" in context or "consentManagement" in context:
        place = "context.consent"
        stated = _joined([*_preferences(context, left_out), *_denied(context, left_out)])
        consent = {**stated, **consent}
    if call.name in WITHDRAWALS and call.type == _TRACK:
        consent[EMAIL_MARKETING] = False
    if not consent:
        return consent, 0
    for purpose in [one for one in consent if not 1 <= len(one) <= MOST_ID or "\0" in one]:
        del consent[purpose]
        left_out.append(
            LeftOut(place, f"names a purpose that has not 1 to {MOST_ID} characters", Malformed.reason)
        )
    return _within_limit(consent, place, left_out)


def _joined(said: Iterable[tuple[str, bool]]) -> dict[str, bool]:
    """What is said of each purpose; where one is named twice, as by another case, its denial stands."""
    consent: dict[str, bool] = {}
    for name, granted in said:
        purpose = _purpose(name)
        consent[purpose] = granted and consent.get(purpose, True)
    return consent


def _purpose(name: str) -> str:
    """A purpose that we know, however it is written; any other as it stands there."""
    if name in _KNOWN_PURPOSES:
        return name
    plain = name.strip().lower()
    return plain if plain in _KNOWN_PURPOSES else name


def _preferences(context: Mapping[str, Any], left_out: list[LeftOut]) -> list[tuple[str, bool]]:
    """Purposes as SDKs state them. Invalid where they can't be read at all: a denial may stand there."""
    stated = _inner("context.consent", context.get("consent"))
    found: list[tuple[str, bool]] = []
    by_category = False
    for name in _PREFERENCES:
        place = f"context.consent.{name}"
        if preferences := _inner(place, stated.get(name)):
            by_category = True
            found += _read_preferences(place, preferences, left_out)
    # Beside categories stand other things: the version of a banner, a time.
    flat = {
        name: granted
        for name, granted in stated.items()
        if name not in _PREFERENCES and not (by_category and _purpose(name) not in _KNOWN_PURPOSES)
    }
    return [*found, *_read_preferences("context.consent", flat, left_out)]


def _inner(place: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    if value in NOTHING:
        return {}
    raise Invalid(place, "must be an object")


def _read_preferences(
    place: str, preferences: Mapping[str, Any], left_out: list[LeftOut]
) -> Iterator[tuple[str, bool]]:
    for purpose, granted in preferences.items():
        if isinstance(granted, bool):
            yield purpose, granted
            continue
        denied = _denies(granted)
        if denied:
            yield purpose, False
        if granted is not None:
            became = "counts as false" if denied else "says nothing"
            left_out.append(
                LeftOut(f"{place}.{purpose}"[:MOST_ID], f"must be true or false: {became}", Malformed.reason)
            )


def _denies(value: Any) -> bool:
    """Whether it says no, in whichever words."""
    if isinstance(value, dict):
        granted = value.get("granted")
        return not isinstance(granted, dict) and _denies(granted)
    if isinstance(value, str):
        word = _BETWEEN_WORDS.sub("", value).lower()
        return word in _DENIALS or (bool(word) and not word.strip("0"))
    return isinstance(value, int | float) and value == 0


def _denied(context: Mapping[str, Any], left_out: list[LeftOut]) -> list[tuple[str, bool]]:
    """The categories that RudderStack's SDKs list as denied. What they list as allowed grants nothing."""
    management = context.get("consentManagement")
    ids = management.get("deniedConsentIds") if isinstance(management, dict) else management
    if ids in NOTHING:
        return []
    listed = ids if isinstance(ids, list) else [ids]
    found = [(one, False) for one in listed if isinstance(one, str) and isinstance(management, dict)]
    if len(found) < len(listed):
        left_out.append(
            LeftOut(_DENIED, "must be a list of texts: other things say nothing", Malformed.reason)
        )
    return found


def _within_limit(
    consent: dict[str, bool], place: str, left_out: list[LeftOut]
) -> tuple[Mapping[str, bool], int]:
    """All denials, and as many grants as may be: of the known purposes first, then in their order."""
    if len(consent) <= _MOST_GRANTS:
        return consent, 0
    granted = [purpose for purpose, said in consent.items() if said]
    granted.sort(key=lambda purpose: purpose not in _KNOWN_PURPOSES)
    over = frozenset(granted[_MOST_GRANTS:])
    if over:
        problem = f"grants more than {_MOST_GRANTS} purposes: {len(over)} grants were left out"
        left_out.insert(0, LeftOut(place, problem, TooLarge.reason))
    return {purpose: said for purpose, said in consent.items() if purpose not in over}, len(over)
