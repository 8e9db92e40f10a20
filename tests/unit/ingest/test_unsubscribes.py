"""Unsubscribe links, from a mail to the event that withdraws consent."""

import uuid
from collections.abc import Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.errors import Unavailable
from libs.unsubscribe import Links, Unsubscription, keys_of
from services.ingest.app import create_app
from services.ingest.tracking import wire
from services.ingest.tracking.model import Collected
from services.ingest.tracking.use_cases import Collector
from services.ingest.unsubscribes.http import unsubscribe_routes
from services.ingest.unsubscribes.use_cases import Unsubscriber
from tessera.ingest.v1.event_pb2 import SOURCE_KIND_SERVER
from tessera.ingest.v1.ingest_events_pb2 import EventCollected

OLD, NEW = "a key that only the tests know", "the key that takes its place"
LINKS = Links([OLD], "https://shop.example.com/")
PROFILE, MESSAGE = str(uuid.UUID(int=7)), str(uuid.UUID(int=9))
ADA = Unsubscription(PROFILE, MESSAGE, "cart")
URL = LINKS.url(PROFILE, MESSAGE, "cart")
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
    collector = Collector(events, None)  # type: ignore[arg-type]
    app = create_app(unsubscribe_routes(Unsubscriber(collector), LINKS))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://shop.example.com")


_IDS = st.uuids().map(str) | st.text(max_size=100)


@given(_IDS, _IDS, st.text(max_size=63))
def test_a_token_names_what_was_sealed(profile_id: str, message_id: str, campaign_id: str) -> None:
    unsubscription = Unsubscription(profile_id, message_id, campaign_id)

    assert unsubscription == LINKS.read(LINKS.token(unsubscription))


@given(st.data())
def test_a_changed_token_is_nobodys(data: st.DataObject) -> None:
    token = LINKS.token(ADA)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda one: one != token[place]))

    assert LINKS.read(token[:place] + letter + token[place + 1 :]) is None


@pytest.mark.parametrize("token", ["", "preview", "????", "ä", "A" * 500, Links(["other"]).token(ADA)])
def test_what_nobody_sealed_is_nobodys(token: str) -> None:
    assert LINKS.read(token) is None


def test_the_unsubscribe_key_must_change_and_every_link_lives_on() -> None:
    changed = Links([NEW, OLD])
    made = changed.token(ADA)

    assert ADA == changed.read(LINKS.token(ADA))
    assert ADA == changed.read(made) == Links([NEW]).read(made)
    assert LINKS.read(made) is None
    assert Links([NEW]).read(LINKS.token(ADA)) is None


def test_a_link_is_one_short_line_that_tells_nothing_and_the_same_for_the_same_mail() -> None:
    long = LINKS.url(PROFILE, MESSAGE, "c" * 63)

    assert LINKS.url(PROFILE, MESSAGE, "cart") == URL
    assert len(long) <= len(URL) < 160
    assert URL.isascii()
    assert not any(part in URL for part in (PROFILE, MESSAGE, "cart"))
    assert Unsubscription(PROFILE, MESSAGE) == LINKS.read(long.rpartition("/")[2])


def test_keys_stand_newest_first_and_a_short_one_is_refused() -> None:
    assert (NEW, OLD) == keys_of(f" {NEW}, {OLD} ,")
    assert () == keys_of("")
    with pytest.raises(ValueError, match="16 characters"):
        keys_of(f"{NEW},short")


async def test_get_shows_a_page_with_one_button_and_unsubscribes_nobody(
    client: httpx.AsyncClient, events: Events
) -> None:
    async with client:
        response = await client.get(URL)

    assert (200, []) == (response.status_code, events.collected)
    assert 1 == response.text.count("<button")
    assert "no-store" == response.headers["cache-control"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_link_is_not_found(client: httpx.AsyncClient, events: Events, method: str) -> None:
    async with client:
        response = await client.request(method, LINKS.preview_url)

    assert (404, []) == (response.status_code, events.collected)


async def test_one_click_collects_an_event_of_the_profile_that_got_the_mail(
    client: httpx.AsyncClient, events: Events
) -> None:
    async with client:
        response = await client.post(URL, data=ONE_CLICK)
    (collected,) = events.collected
    told = EventCollected.FromString(wire.collected_bytes(collected))

    assert 200 == response.status_code
    assert ("unsubscribe-page", SOURCE_KIND_SERVER, "Unsubscribed") == (
        told.source_id,
        told.source_kind,
        told.name,
    )
    assert {"email_marketing": False} == dict(told.consent)
    # An address may be two people's, and then nobody's.
    assert (PROFILE, "", "", "") == (told.profile_id, told.user_id, told.email, told.anonymous_id)
    assert PROFILE == collected.key


async def test_a_second_click_counts_again(client: httpx.AsyncClient, events: Events) -> None:
    async with client:
        for _ in range(2):
            await client.post(URL, data=ONE_CLICK)

    assert 2 == len({collected.event_id for collected in events.collected})


async def test_while_the_log_is_down_the_page_asks_to_try_again(
    client: httpx.AsyncClient, events: Events
) -> None:
    events.down = True
    async with client:
        response = await client.post(URL, data=ONE_CLICK)

    assert (503, "2") == (response.status_code, response.headers["retry-after"])
