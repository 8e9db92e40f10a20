"""A message and its cause: whether it may start it, what it is about, when it no longer stands."""

import uuid
from typing import Any

import orjson
import pytest

from tessera.render.v1 import campaign_pb2, message_pb2
from tessera.segment.v1 import segment_events_pb2
from tests.integration.render.rig import Rig
from tests.integration.render.test_delivering import acknowledge, state, subscriber

WITHDRAWN = segment_events_pb2.TRANSITION_KIND_WITHDRAWN
TRANSACTIONAL = campaign_pb2.STREAM_TRANSACTIONAL


@pytest.mark.parametrize("name", ["Order Completed", "Product Added"])
async def test_with_a_public_key_an_event_starts_no_transactional_mail(rig: Rig, name: str) -> None:
    await rig.put(stream=TRANSACTIONAL, html="{{ event.note }}")
    who = rig.profiles.add()
    await rig.decide(rig.transition(who, event={"note": "pay here: evil.example"}, trusted=False))

    (message,) = await rig.messages()
    assert message_pb2.OUTCOME_SUPPRESSED == message.outcome
    assert "the deciding event came with a public key, which the campaign does not accept" == (
        message.outcome_reason
    )
    assert ("", "") == (message.html, message.to)


async def test_a_campaign_that_says_so_takes_an_untrusted_cause(rig: Rig) -> None:
    await rig.put(stream=TRANSACTIONAL, accept_untrusted=True)
    await rig.decide(rig.transition(rig.profiles.add(), trusted=False))

    assert {"OUTCOME_RENDERED": 1} == await rig.totals()


async def test_marketing_mail_takes_an_untrusted_cause_since_it_needs_consent(rig: Rig) -> None:
    await rig.put()
    await rig.decide(rig.transition(rig.profiles.add(), trusted=False))

    assert {"OUTCOME_RENDERED": 1} == await rig.totals()


async def test_the_cart_is_bought_while_the_reminder_waits_for_its_connector(rig: Rig) -> None:
    await rig.put()
    who, cause = rig.profiles.add(), uuid.uuid4().bytes
    other = uuid.uuid4().bytes
    await rig.decide(rig.transition(who, cause), rig.transition(who, other))
    await rig.decide(rig.transition(who, cause, kind=WITHDRAWN))
    granted = await rig.deliveries.next(subscriber())

    withdrawn = [m for m in await rig.messages() if m.cause_id == cause]
    assert [other] == [one.message.cause_id for one in granted]
    assert [(message_pb2.DELIVERY_STATE_WITHDRAWN, "what it waited for has happened since")] == [
        (one.delivery_state, one.outcome_reason) for one in withdrawn
    ]


async def test_an_answer_in_the_same_batch_withdraws_as_well(rig: Rig) -> None:
    await rig.put()
    who, cause = rig.profiles.add(), uuid.uuid4().bytes
    await rig.decide(rig.transition(who, cause), rig.transition(who, cause, kind=WITHDRAWN))

    assert [] == await rig.deliveries.next(subscriber())
    assert message_pb2.DELIVERY_STATE_WITHDRAWN == (await state(rig))[0]


async def test_a_message_that_a_connector_has_stays_with_it_but_is_not_handed_out_again(rig: Rig) -> None:
    await rig.put()
    who, cause = rig.profiles.add(), uuid.uuid4().bytes
    await rig.decide(rig.transition(who, cause))
    (held,) = await rig.deliveries.next(subscriber())
    await rig.decide(rig.transition(who, cause, kind=WITHDRAWN))
    leased = (await state(rig))[0]
    rig.now += 60
    again = await rig.deliveries.next(subscriber(1))
    withdrawn = (await state(rig))[0]
    late = await acknowledge(rig, held)

    assert (message_pb2.DELIVERY_STATE_LEASED, [], message_pb2.DELIVERY_STATE_WITHDRAWN) == (
        leased,
        again,
        withdrawn,
    )
    assert 1 == len(late)


async def test_a_withdrawal_touches_no_other_definition_and_nothing_that_was_delivered(rig: Rig) -> None:
    await rig.put()
    who, cause = rig.profiles.add(), uuid.uuid4().bytes
    await rig.decide(rig.transition(who, cause))
    await rig.decide(rig.transition(who, cause, definition="another", kind=WITHDRAWN))
    (held,) = await rig.deliveries.next(subscriber())
    await acknowledge(rig, held)
    await rig.decide(rig.transition(who, cause, kind=WITHDRAWN))

    assert (message_pb2.DELIVERY_STATE_ACKNOWLEDGED, "") == await state(rig)


@pytest.mark.parametrize(
    "event",
    [
        {"product_id": "1", "name": "Room spray"},
        {"products": [{"product_id": "1"}, {"product_id": "9"}]},
        {"product": {"product_id": 1}},
    ],
)
async def test_a_cart_reminder_for_a_room_spray_never_recommends_the_room_spray(rig: Rig, event: Any) -> None:
    await rig.put(recommendations=2)
    await rig.decide(rig.transition(rig.profiles.add(), event=event))

    (message,) = await rig.messages()
    assert "Lamp 2Lamp 3" in message.html
    assert rig.recommends.spared_carts


async def test_two_mails_to_one_person_each_leave_out_what_they_are_about(rig: Rig) -> None:
    await rig.put(recommendations=1, subject="{{ event.product_id }}")
    who = rig.profiles.add()
    await rig.decide(*(rig.transition(who, event={"product_id": n}) for n in ("1", "2")))

    found = {message.subject: message.html for message in await rig.messages()}
    assert "Lamp 2" in found["1"]
    assert "Lamp 1" in found["2"]


async def test_a_message_tells_the_deciding_event_s_name_and_values(rig: Rig) -> None:
    await rig.put()
    await rig.decide(rig.transition(rig.profiles.add(), event={"product": "A lamp", "id": 7}))
    await rig.decide(rig.transition(rig.profiles.add(), event={"product": "x" * 20_000}))

    large, small = await rig.messages()
    assert ("Product Added", {"product": "A lamp", "id": 7}) == (
        small.event_name,
        orjson.loads(small.event_properties_json),
    )
    assert ("Product Added", b"") == (large.event_name, large.event_properties_json)


@pytest.mark.parametrize("most_bytes", [4 << 20, 1 << 30], ids=["in portions", "too much for a message"])
async def test_70_profiles_with_250_kb_of_traits_in_one_campaign_all_get_their_mail(
    rig: Rig, most_bytes: int
) -> None:
    rig.profiles.most_bytes = most_bytes
    await rig.put(html="{{ profile.traits.name }}")
    people = [rig.profiles.add(biography="x" * 250_000) for _ in range(70)]
    await rig.decide(*(rig.transition(who) for who in people))

    assert {"OUTCOME_RENDERED": 70} == await rig.totals()
    assert 70 == max(rig.profiles.asked)


async def test_one_profile_that_is_too_large_to_be_read_costs_nobody_else(rig: Rig) -> None:
    await rig.put(html="{{ profile.traits.name }}")
    people = [rig.profiles.add() for _ in range(9)]
    large = rig.profiles.add(biography="x" * (17 << 20))
    await rig.decide(*(rig.transition(who) for who in [*people, large]))

    (failed,) = await rig.messages(outcome=message_pb2.OUTCOME_FAILED)
    assert {"OUTCOME_RENDERED": 9, "OUTCOME_FAILED": 1} == await rig.totals()
    assert (large, True) == (
        failed.profile_id,
        failed.outcome_reason.startswith("the profile can't be read"),
    )


async def test_traits_and_events_that_can_t_be_read_cost_only_their_own_mail(rig: Rig) -> None:
    await rig.put()
    broken, fine = rig.profiles.add(), rig.profiles.add()
    rig.profiles.profiles[broken].traits_json = b'{"name": '
    odd = rig.transition(fine)
    odd.event_properties_json = b"{"
    await rig.decide(rig.transition(broken), rig.transition(fine), odd)

    assert {"OUTCOME_RENDERED": 1, "OUTCOME_FAILED": 2} == await rig.totals()


async def test_a_whole_number_of_23_digits_in_traits_and_event_shows_its_digits(rig: Rig) -> None:
    await rig.put(html="{{ profile.traits.card }}", subject="{{ event.order }}")
    who = rig.profiles.add()
    rig.profiles.profiles[who].traits_json = b'{"card": 12345678901234567890123}'
    transition = rig.transition(who)
    transition.event_properties_json = b'{"order": 98765432109876543210987}'
    await rig.decide(transition)

    (message,) = await rig.messages()
    assert ("98765432109876543210987", "12345678901234567890123") == (message.subject, message.html)
