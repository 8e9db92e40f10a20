"""Decisions as plain functions."""

import dataclasses
import unicodedata
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.render.campaigns.model import Campaign, Start
from services.render.deciding import model
from services.render.deciding.model import Advice, Ingredients
from services.render.delivery.model import (
    Cause,
    Content,
    Decision,
    Granted,
    Lease,
    Outcome,
    withdrawn_because,
)
from services.render.engine.model.parts import PARTS, finished
from services.render.model import MICROS
from services.render.model.people import Person, Stream

NOW = 1_800_000_000 * MICROS
CAMPAIGN = Campaign(
    campaign_id="cart",
    display_name="Your cart",
    start=Start.TRIGGER,
    definition_id="cart",
    template_id="cart",
    sender="Shop <shop@shop.example.com>",
    reply_to="",
    stream=Stream.MARKETING,
    max_age_seconds=3600,
    expire_after_seconds=86_400,
    recommendations=3,
    paused=False,
)
CAUSE = Cause("p", 1, Start.TRIGGER, "cart", b"cause", NOW, b"")
WRONG_IDS: list[Any] = [True, None, 1.5, {}, "", "x" * 256]
PERSON = Person("p", 1, {"email": "Ada@Example.com "}, {"email_marketing": True}, ["old@example.com"])


def with_(thing: Any, **changes: Any) -> Any:
    return dataclasses.replace(thing, **changes)


def granted(withdrawn: str = "", **changes: Any) -> Granted:
    """A rendered message that is to be handed out."""
    content = Content(dict.fromkeys(PARTS, "x"), ())
    made = Decision(CAMPAIGN, CAUSE, Outcome.RENDERED, NOW, address="ada@example.com", content=content)
    return Granted(Lease("m", "l"), NOW, 1, with_(made, **changes).message, withdrawn)


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (-5.0, None),
        (0.0, None),
        (3600.0, None),
        (3600.000001, "the cause was 60 min old; the campaign allows 60 min"),
        (37 * 86_400.0 + 5, "the cause was 37 d old; the campaign allows 60 min"),
        (86_400.0, "the cause was 24 h old; the campaign allows 60 min"),
    ],
)
def test_a_cause_counts_until_it_is_too_old(age: float, reason: str | None) -> None:
    cause = with_(CAUSE, time=NOW - round(age * MICROS))

    assert reason == model.missed_because(CAMPAIGN, cause, NOW)


@pytest.mark.parametrize(
    ("changes", "matches"),
    [
        ({}, True),
        ({"paused": True}, False),
        ({"start": Start.SEGMENT}, False),
        ({"definition_id": "other"}, False),
    ],
)
def test_a_cause_starts_the_campaigns_that_name_it(changes: dict[str, Any], matches: bool) -> None:
    campaign = with_(CAMPAIGN, **changes)

    assert ([campaign] if matches else []) == model.matching([campaign], CAUSE)


consents = st.dictionaries(
    st.sampled_from(["email_marketing", "personalization", "analytics", "other"]), st.booleans()
)


@given(consents)
def test_marketing_needs_consent_and_no_denial_whatever_else_is_said(consent: dict[str, bool]) -> None:
    person = with_(PERSON, consent=consent)
    allowed = consent.get("email_marketing") is True and consent.get("personalization") is not False

    assert allowed is (model.suppressed_because(CAMPAIGN, person) is None)
    assert allowed is (withdrawn_because(granted(), person) is None)


@given(consents)
def test_transactional_mail_needs_no_consent(consent: dict[str, bool]) -> None:
    person = with_(PERSON, consent=consent)

    assert model.suppressed_because(with_(CAMPAIGN, stream=Stream.TRANSACTIONAL), person) is None


@given(consents)
def test_a_denial_of_either_purpose_ends_the_use_of_what_the_person_did(consent: dict[str, bool]) -> None:
    person = with_(PERSON, consent=consent)
    denied = consent.get("analytics") is False or consent.get("personalization") is False

    assert denied is not person.is_analysable


@pytest.mark.parametrize(
    ("traits", "emails", "address"),
    [
        ({"email": "Ada@Example.com"}, ["old@example.com"], "ada@example.com"),
        ({"email": "not an address"}, ["old@example.com"], "old@example.com"),
        ({"email": 5}, ["old@example.com"], "old@example.com"),
        ({}, [], None),
    ],
)
def test_mail_goes_to_the_trait_else_to_an_address_that_leads_here(
    traits: dict[str, Any], emails: list[str], address: str | None
) -> None:
    assert address == Person("p", 1, traits, {}, emails).address


@given(st.text(max_size=20), st.text(max_size=20), st.binary(max_size=16), st.binary(max_size=16))
def test_an_effect_is_named_by_campaign_and_cause_alone(
    one: str, other: str, cause: bytes, another: bytes
) -> None:
    def name(campaign_id: str, cause_id: bytes, **rest: Any) -> tuple[str, str, str]:
        decision = Decision(
            with_(CAMPAIGN, campaign_id=campaign_id),
            with_(CAUSE, cause_id=cause_id, **rest),
            Outcome.RENDERED,
            NOW,
        )
        message = decision.message
        return message.message_id, message.idempotency_key, message.rfc5322_message_id

    names = name(one, cause)

    assert names == name(one, cause, profile_id="another", profile_revision=9, time=5)
    assert ((one, cause) == (other, another)) is (names == name(other, another))
    assert len(names[1]) <= 256
    assert names[2].isascii()


@given(st.text(), st.text())
def test_subject_and_preheader_are_one_line_that_breaks_no_header(subject: str, preheader: str) -> None:
    parts = finished({"subject": subject, "preheader": preheader, "html": "", "text": ""})

    for line in (parts["subject"], parts["preheader"]):
        assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in line)
        assert line.splitlines() in ([], [line])
        assert len(line) <= 900


def test_the_same_inputs_give_the_same_context() -> None:
    one = Ingredients(with_(PERSON, traits={"a": 1, "b": 2}), segments=["x", "y"])
    other = Ingredients(with_(PERSON, traits={"b": 2, "a": 1}), segments=["y", "x"])

    assert model.context_of(one) == model.context_of(other)


def test_a_context_holds_what_templates_use() -> None:
    ingredients = Ingredients(
        PERSON,
        segments=["b", "a"],
        advice=Advice([{"name": "Lamp"}], 7),
        event=b'{"product": "Lamp"}',
        campaign_id="cart",
        campaign_name="Your cart",
        unsubscribe_url="https://x.example/u",
    )

    assert {
        "profile": {"id": "p", "traits": {"email": "Ada@Example.com "}},
        "segments": ["a", "b"],
        "recommendations": [{"name": "Lamp"}],
        "event": {"product": "Lamp"},
        "campaign": {"id": "cart", "name": "Your cart"},
        "unsubscribe_url": "https://x.example/u",
    } == orjson.loads(model.context_of(ingredients))


@pytest.mark.parametrize(
    ("properties", "products"),
    [
        ({"product_id": "a", "products": [{"product_id": "b"}, {"product_id": 7}]}, ["a", "b", "7"]),
        ({"order": {"products": [{"product_id": "a"}]}}, ["a"]),
        ({"checkout": {"line_items": [{"product_id": "a"}]}}, ["a"]),
        ({"products": [{"product": {"product_id": "a"}}]}, ["a"]),
        ({"product_ids": ["a", 2], "lists": [[{"product_id": "b"}]]}, ["a", "2", "b"]),
        ({"product_id": 12.0}, ["12"]),
        ({"products": [{"product_id": wrong} for wrong in WRONG_IDS]}, []),
        ([{"product_id": "a"}], ["a"]),
        ("a", []),
    ],
)
def test_what_a_mail_is_about_is_found_wherever_in_the_event_it_stands(
    properties: Any, products: list[str]
) -> None:
    assert products == model.products_in(orjson.dumps(properties))


def test_an_event_of_any_depth_and_size_names_products_up_to_a_limit() -> None:
    deep = b'{"a":' * 200 + b'{"product_id":"a"}' + b"}" * 200
    wide = orjson.dumps({"product_ids": list(range(2000))})

    assert ["a"] == model.products_in(deep)
    assert 500 == len(model.products_in(wide))


@pytest.mark.parametrize(
    "character",
    [
        *("e\u0301", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
        *("\U0001f1e9\U0001f1ea", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"),
        *("\u0928\u093f", "\u1100\u1161\u11a8"),
    ],
)
def test_a_long_subject_ends_between_characters_and_not_within_one(character: str) -> None:
    for before in range(900 - len(character) + 1, 900):
        subject = finished(dict.fromkeys(PARTS, "x" * before + character * 2))["subject"]

        assert subject == "x" * before
    flags = finished(dict.fromkeys(PARTS, "x" + "\U0001f1e9\U0001f1ea" * 500))["subject"]
    assert len(flags) == 899
