"""What a public key can't do: change an address, move one, or have a victim's mail sent elsewhere."""

from collections.abc import Mapping, Sequence

import pytest

from services.profile.identity.model import Event
from tests.unit.profile.people import MemoryPeople, event

_MINE, _EVIL = "e:victim@example.com", "e:evil@example.com"


def _email(address: str) -> Mapping[str, bytes | None]:
    return {"email": f'"{address[2:]}"'.encode()}


def _server(*identifiers: str, at: int = 10, **said: object) -> Event:
    return event(*identifiers, at=at, **said)  # type: ignore[arg-type]


def _browser(*identifiers: str, at: int = 20, **said: object) -> Event:
    return event(*identifiers, at=at, browser=True, **said)  # type: ignore[arg-type]


_VICTIM = _server("u:victim", _MINE, traits=_email(_MINE))
_NEVER_NAMED = _server("u:victim", _MINE)

_ATTACKS: dict[str, Sequence[Event]] = {
    "it names another address": [
        _VICTIM,
        _browser("u:victim", _EVIL, traits=_email(_EVIL)),
    ],
    "it removes the address": [
        _VICTIM,
        _browser("u:victim", traits={"email": None}),
    ],
    "it names another address, long ago": [
        _VICTIM,
        _browser("u:victim", _EVIL, at=1, traits=_email(_EVIL)),
    ],
    "its trait differs from the identifier beside it": [
        _NEVER_NAMED,
        _browser("u:victim", _MINE, traits=_email(_EVIL)),
    ],
    "its trait is no text": [
        _NEVER_NAMED,
        _browser("u:victim", _MINE, traits={"email": b'["evil@example.com"]'}),
    ],
    "its own address comes in by a merge": [
        _VICTIM,
        _browser("a:evil", _EVIL, traits=_email(_EVIL)),
        _browser("u:victim", "a:evil"),
    ],
    "its own address comes in by a merge, where only an identifier is known": [
        _NEVER_NAMED,
        _browser("a:evil", _EVIL, traits=_email(_EVIL)),
        _browser("u:victim", "a:evil"),
    ],
    "its own address comes in by an alias": [
        _VICTIM,
        _browser("a:evil", _EVIL, traits=_email(_EVIL)),
        _browser("u:victim", "a:new", "a:evil"),
    ],
    "it orders as a guest, then links its device": [
        _VICTIM,
        _server(_EVIL, "a:evil", at=30, traits=_email(_EVIL)),
        _browser("u:victim", "a:evil", at=40),
    ],
    "it links its device, then orders as a guest": [
        _VICTIM,
        _browser("u:victim", "a:evil"),
        _server(_EVIL, "a:evil", at=30, traits=_email(_EVIL)),
    ],
    "it looks around, links its device, then orders as a guest": [
        _VICTIM,
        _browser("a:evil"),
        _browser("u:victim", "a:evil"),
        _server(_EVIL, "a:evil", at=30, traits=_email(_EVIL)),
    ],
    "it links its device, then orders twice": [
        _VICTIM,
        _browser("u:victim", "a:evil"),
        _server(_EVIL, "a:evil", at=30, traits=_email(_EVIL)),
        _server(_EVIL, at=50, traits=_email(_EVIL)),
    ],
    "it gives the first address, and orders with it later": [
        _browser("u:victim", _EVIL, at=1, traits=_email(_EVIL)),
        _VICTIM,
        _server(_EVIL, at=30, traits=_email(_EVIL)),
    ],
    "it links a guest's device with an unusual phone number": [
        _VICTIM,
        _server("a:evil", at=30, traits={"phone": b'"030 123"'}),
        _browser("u:victim", "a:evil", at=40),
    ],
    "its own address is on a device that a server links": [
        _NEVER_NAMED,
        _browser("a:evil", _EVIL, traits=_email(_EVIL)),
        _server("u:victim", "a:evil", at=30),
        _server(_EVIL, at=50, traits=_email(_EVIL)),
    ],
    "a server believes a device that it linked": [
        _VICTIM,
        _browser("u:victim", "a:evil"),
        _server("a:evil", at=30, traits={"phone": b'"030 123"', "plan": b'"free"'}),
    ],
}


@pytest.mark.parametrize("attack", _ATTACKS)
@pytest.mark.parametrize("batch", [1, 10])
def test_a_browser_never_changes_a_victims_address(attack: str, batch: int) -> None:
    people = MemoryPeople()
    events = _ATTACKS[attack]
    for start in range(0, len(events), batch):
        people.apply(*events[start : start + batch])
    victim = people.holder("u:victim")
    email, phone = victim.traits.get("email"), victim.traits.get("phone")

    assert victim is not None
    assert email is None or b'"victim@example.com"' == email.value
    assert phone is None
    assert "u:victim" in people.holder(_MINE).identifiers
    assert _EVIL not in victim.identifiers


def test_a_browser_never_moves_an_address_that_a_server_gave_to_another_profile() -> None:
    people = MemoryPeople()
    people.apply(_server(_MINE, "a:victim", traits=_email(_MINE)))
    people.apply(_browser("u:evil", "a:victim"), _browser("u:evil", "a:x", "a:victim"))
    people.apply(_browser("u:evil", _MINE, traits=_email(_MINE)))

    assert [["a:victim", _MINE], ["a:x", "u:evil"]] == people.groups()


def test_a_browser_links_a_device_to_a_user_and_gives_the_first_address() -> None:
    people = MemoryPeople()
    people.apply(_browser("a:device", _MINE, traits=_email(_MINE)))
    people.apply(_browser("u:1", "a:device"))

    assert [["a:device", _MINE, "u:1"]] == people.groups()
    assert b'"victim@example.com"' == people.holder("u:1").traits["email"].value


def test_the_first_address_that_a_browser_gave_stays_against_other_browsers() -> None:
    people = MemoryPeople()
    people.apply(_browser("u:1", _MINE, at=50, traits=_email(_MINE)))
    people.apply(_browser("u:1", _EVIL, at=10, traits=_email(_EVIL)))
    people.apply(_browser("u:1", _EVIL, at=90, traits=_email(_EVIL)))

    assert b'"victim@example.com"' == people.holder("u:1").traits["email"].value


def test_a_claim_gives_way_to_a_server_however_old_its_word() -> None:
    people = MemoryPeople()
    people.apply(_browser("u:1", _EVIL, at=90, traits=_email(_EVIL)))
    people.apply(_server("u:1", _MINE, at=10, traits=_email(_MINE)))

    assert b'"victim@example.com"' == people.holder("u:1").traits["email"].value


def test_an_address_that_a_stranger_claimed_goes_to_whom_a_server_gives_it() -> None:
    people = MemoryPeople()
    people.apply(_browser("u:squatter", _MINE, traits=_email(_MINE)))
    people.apply(_VICTIM)

    assert [["e:victim@example.com", "u:victim"], ["u:squatter"]] == people.groups()


def test_an_outdated_claim_no_longer_draws_events_of_the_address() -> None:
    people = MemoryPeople()
    people.apply(_browser("u:squatter", _MINE))
    people.apply(_server("u:squatter", _EVIL, traits=_email(_EVIL)))
    people.apply(_server(_MINE, at=30))

    assert [[_EVIL, "u:squatter"], [_MINE]] == people.groups()


def test_a_guest_who_typed_an_address_is_known_when_the_server_names_both() -> None:
    people = MemoryPeople()
    people.apply(_browser("a:device"), _browser("a:device", _MINE, traits=_email(_MINE)))
    people.apply(_server(_MINE, "a:device"), _server(_MINE, at=30, traits=_email(_MINE)))
    guest = people.holder(_MINE)

    assert [["a:device", _MINE]] == people.groups()
    assert guest.traits["email"].trusted
    assert set() == guest.claimed


def test_a_servers_word_on_a_device_ends_the_claim() -> None:
    people = MemoryPeople()
    people.apply(_VICTIM, _browser("u:victim", "a:device"))
    claimed = people.holder("u:victim").claimed
    people.apply(_server("u:victim", "a:device", at=30))

    assert {"a:device"} == claimed
    assert set() == people.holder("u:victim").claimed
