"""What others may do to one: a stranger with a public key, a limit, a clock, a neighbour's dirt."""

from collections.abc import Callable

import orjson
import pytest

from services.profile.identity.model import Event
from services.recommend.catalog.model import statements_of
from services.render.engine.model import language
from services.segment.membership.model import Occurrence, Update
from tests.model.events import HOUR
from tests.model.lives import START, profile_id
from tests.unit.profile.people import MemoryPeople, event
from tests.unit.segment.test_follower import Streamed, plan_of
from tests.unit.segment.test_rows import BROWSER, cart
from tests.unit.segment.test_rows import event as happened

MAIL, ANALYTICS = "email_marketing", "analytics"
MINUTE = 60_000_000
NOW = 1_700_000_000_000_000
ADA, BOB = profile_id(1), profile_id(2)


async def test_what_a_public_key_can_do_to_others() -> None:
    people = MemoryPeople()
    people.apply(
        _said(1, "u:ada", "e:ada@x.y", granted=False),
        event("u:ada", "e:eve@x.y", browser=True, number=2, received=NOW + HOUR, at=NOW + HOUR),
        event(
            *("u:ada", "a:eve"),
            browser=True,
            number=3,
            received=NOW + HOUR,
            at=NOW + HOUR,
            consent={MAIL: True},
        ),
    )
    ada = people.holder("u:ada")
    streamed = Streamed(plan_of({}, [cart()]))
    await streamed.at(START)
    await streamed.happen(ADA, happened(1, "Cart", START, origin=BROWSER))
    await streamed.at(START + 2 * HOUR)
    price = statements_of("Product Viewed", {"product_id": "1", "price": 0.01, "name": "Free!"}, NOW, False)

    assert not ada.consent[MAIL].granted, "a refusal is undone"
    assert "e:eve@x.y" not in ada.identifiers, "an address is added"
    assert [False] == [transition.trusted for transition in streamed.transitions]
    assert not price.facts, "the catalog believes it"


def _said(number: int, *identifiers: str, granted: bool, browser: bool = False, ahead: int = 0) -> Event:
    received = NOW + number * MINUTE
    return event(
        *(identifiers or ("u:1",)),
        number=number,
        browser=browser,
        at=received + ahead,
        received=received,
        consent={MAIL: granted},
    )


_LOST: dict[str, Callable[[], list[Event]]] = {
    "to a limit": lambda: [
        *(event("u:1", number=n, at=NOW, received=NOW, consent={f"junk {n}": True}) for n in range(2, 300)),
        _said(400, granted=False),
    ],
    "to a merge": lambda: [
        _said(1, "a:till", granted=False),
        _said(2, "u:1", granted=True),
        event("u:1", "a:till", number=3, at=NOW, received=NOW + HOUR),
    ],
    "to a skewed clock": lambda: [_said(1, granted=True, ahead=4 * MINUTE), _said(2, granted=False)],
    "to a banner's repetition": lambda: [
        _said(1, granted=False),
        *(_said(n, "u:1", "a:1", granted=True, browser=True) for n in range(2, 5)),
    ],
    "to an address that two people share": lambda: [
        _said(1, "u:1", "e:both@x.y", granted=True),
        _said(2, "u:2", "e:both@x.y", granted=True),
        _said(3, "e:both@x.y", granted=False),
    ],
}


@pytest.mark.parametrize("way", _LOST)
@pytest.mark.parametrize("together", [False, True])
def test_the_refusal_that_is_lost(way: str, together: bool) -> None:
    people = MemoryPeople()
    events = _LOST[way]()
    for batch in [events] if together else [[one] for one in events]:
        people.apply(*batch)

    assert not people.holder("u:1").consent[MAIL].granted


async def test_one_items_dirt() -> None:
    """A person whose step can't be read, and one whose properties can't, beside somebody else in a batch."""
    streamed = Streamed(plan_of({"carts": 'events("Cart").where(properties.n > 0).count() > 0'}))
    await streamed.at(START)
    torn = Occurrence(b"\1" * 16, "Cart", START, b'{"n":', START)
    whole = Occurrence(b"\2" * 16, "Cart", START, b'{"n":1}', START)

    def unreadable() -> Update:
        raise ValueError("torn")

    follower = streamed.follower()
    updates = {
        ADA: [unreadable],
        BOB: [lambda: Update(BOB, 1, occurrences=(torn,)), lambda: Update(BOB, 2, occurrences=(whole,))],
    }
    await follower.follow(updates, {0: START + HOUR})

    assert ["carts"] == list(streamed.states.all()[BOB].memberships)
    assert ADA not in streamed.states.all() or not streamed.states.all()[ADA].memberships


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"price": "1.299,00", "name": "Ünal"}, "Ünal: €1,299.00"),
        ({"price": None, "name": "Zoë"}, "Zoë: "),
        ({"name": "حسن"}, "حسن: "),
        ({"price": 0, "name": ""}, ": €0.00"),
    ],
)
def test_the_worlds_values(value: dict[str, object], shown: str) -> None:
    source = '{{ event.name }}: {{ event.price | money: "€" }}'

    assert shown == language.render("text", source, orjson.loads(orjson.dumps({"event": value})))
