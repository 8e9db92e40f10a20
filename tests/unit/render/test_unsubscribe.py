"""Signed unsubscribe links, from a mail to a withdrawn consent."""

from collections.abc import Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import Unavailable
from libs.unsubscribe import Links, Unsubscription
from services.ingest import convert as ingest
from services.ingest.domain import Collected
from services.ingest.handlers import Collector
from services.ingest.http_api import create_app
from services.ingest.unsubscribe_api import unsubscribe_routes
from services.profile.consent.model import Choice
from services.profile.history import wire as profile
from services.profile.identity.model import Ledger, Profile

LINKS = Links("a key that only the tests know", "https://shop.example.com/")
ADA = Unsubscription("ada+<b>@example.com", "cart")
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


class Events:
    """Keeps what was collected."""

    def __init__(self) -> None:
        self.collected: list[Collected] = []
        self.down = False

    async def store(self, collected: Sequence[Collected]) -> None:
        if self.down:
            raise Unavailable("the log does not answer")
        self.collected += collected


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def client(events: Events) -> httpx.AsyncClient:
    collector = Collector(None, events, None)  # type: ignore[arg-type]
    app = create_app(collector, unsubscribe_routes(collector, LINKS))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.example.com")


@given(st.text(max_size=100), st.text(max_size=63), st.text(max_size=100))
def test_a_token_names_what_was_signed(email: str, campaign_id: str, user_id: str) -> None:
    unsubscription = Unsubscription(email, campaign_id, user_id)

    assert unsubscription == LINKS.read(LINKS.token(unsubscription))


@given(st.data())
def test_a_changed_token_is_nobodys(data: st.DataObject) -> None:
    token = LINKS.token(ADA)
    place = data.draw(st.integers(0, len(token) - 2))
    letter = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda one: one != token[place]))

    assert LINKS.read(token[:place] + letter + token[place + 1 :]) is None


@pytest.mark.parametrize("token", ["", "preview", "????", "ä", "A" * 500, Links("other").token(ADA)])
def test_what_nobody_signed_is_nobodys(token: str) -> None:
    assert LINKS.read(token) is None


async def test_get_shows_a_page_with_one_button_and_unsubscribes_nobody(
    client: httpx.AsyncClient, events: Events
) -> None:
    async with client:
        response = await client.get(LINKS.url(ADA))

    assert (200, []) == (response.status_code, events.collected)
    assert 1 == response.text.count("<button")
    assert "ada+&lt;b&gt;@example.com" in response.text
    assert "<b>" not in response.text
    assert "no-store" == response.headers["cache-control"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_link_is_not_found(client: httpx.AsyncClient, events: Events, method: str) -> None:
    async with client:
        response = await client.request(method, LINKS.preview_url)

    assert (404, []) == (response.status_code, events.collected)


async def test_one_click_withdraws_consent_through_the_normal_path(
    client: httpx.AsyncClient, events: Events
) -> None:
    ada = Profile("p", 0, identifiers=["e:ada@example.com"])
    ada.consent["email_marketing"] = Choice(True, 1, b"earlier")
    async with client:
        response = await client.post(LINKS.url(Unsubscription("ada@example.com", "cart")), data=ONE_CLICK)
    (collected,) = events.collected
    ledger = Ledger({"p": ada}, {"e:ada@example.com": "p"}, lambda: "new")
    ledger.apply(profile.event_of(ingest.collected_bytes(collected)))

    assert 200 == response.status_code
    assert ("unsubscribe-page", "Unsubscribed") == (collected.source.source_id, collected.name)
    assert ada.consent["email_marketing"].granted is False


async def test_an_address_that_is_two_peoples_unsubscribes_the_one_who_got_the_mail(
    client: httpx.AsyncClient, events: Events
) -> None:
    people = {}
    for name in ("ada", "bob"):  # seen under both user ids, the address is nobody's identifier
        people[name] = Profile(name, 0, identifiers=[f"u:{name}"])
        people[name].consent["email_marketing"] = Choice(True, 1, b"earlier")
    link = LINKS.url(Unsubscription("home@example.com", "cart", "bob"))
    async with client:
        await client.post(link, data=ONE_CLICK)
    (collected,) = events.collected
    ledger = Ledger(people, {"u:ada": "ada", "u:bob": "bob", "e:home@example.com": None}, lambda: "new")
    ledger.apply(profile.event_of(ingest.collected_bytes(collected)))

    assert [True, False] == [person.consent["email_marketing"].granted for person in people.values()]


async def test_a_second_click_counts_again(client: httpx.AsyncClient, events: Events) -> None:
    async with client:
        for _ in range(2):
            await client.post(LINKS.url(Unsubscription("ada@example.com", "cart")), data=ONE_CLICK)

    assert 2 == len({collected.event_id for collected in events.collected})


async def test_while_the_log_is_down_the_page_asks_to_try_again(
    client: httpx.AsyncClient, events: Events
) -> None:
    events.down = True
    async with client:
        response = await client.post(LINKS.url(Unsubscription("ada@example.com", "cart")), data=ONE_CLICK)

    assert (503, "2") == (response.status_code, response.headers["retry-after"])
