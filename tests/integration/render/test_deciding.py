"""From a transition to a message, or to the reason why there is none."""

import asyncio
import uuid
from typing import Any

import orjson
import pytest
from google.protobuf.duration_pb2 import Duration

from libs.errors import Unavailable
from libs.messaging import Consumer, ConsumerSettings
from libs.messaging.topics import RENDER_DEAD_LETTERS, SEGMENT_TRANSITIONS
from services.render.app import handler_of
from services.render.deciding.stream import GROUP
from tessera.render.v1 import message_pb2
from tessera.render.v1 import preview_service_pb2 as pb
from tessera.segment.v1 import segment_events_pb2
from tests.integration.render.rig import Rig

ENTERED = segment_events_pb2.TRANSITION_KIND_ENTERED
EXITED = segment_events_pb2.TRANSITION_KIND_EXITED


async def until(found: Any, seconds: float = 15) -> Any:
    """Wait for a condition, within a deadline."""
    async with asyncio.timeout(seconds):
        while not (result := await found()):  # noqa: ASYNC110 - a row in the database
            await asyncio.sleep(0.02)
    return result


async def test_a_transition_on_the_log_becomes_exactly_one_message(rig: Rig) -> None:
    await rig.put(recommendations=2)
    who = rig.profiles.add()
    transition = rig.transition(who)
    settings = ConsumerSettings(GROUP, (SEGMENT_TRANSITIONS,), RENDER_DEAD_LETTERS, tick_seconds=0.05)
    consumer = Consumer(rig.database, rig.log, settings, lambda: handler_of(rig.decider))
    stopping = asyncio.Event()
    consuming = asyncio.create_task(consumer.run(stopping))
    await rig.log.publish(SEGMENT_TRANSITIONS, rig.records(transition, transition))

    (message,) = await until(rig.messages)
    stopping.set()
    await consuming

    assert "ada@example.com" == message.to
    assert "The blue lamp waits, Ada" == message.subject
    assert "<html><body><p>Hello Ada</p>Lamp 1Lamp 2" == message.html
    assert "Hello Ada\n\nLamp 1Lamp 2\n" == message.text
    assert (who, 1, 1, 7) == (
        message.profile_id,
        message.profile_revision,
        message.template_version,
        message.model_version,
    )
    assert (message_pb2.OUTCOME_RENDERED, message_pb2.DELIVERY_STATE_PENDING) == (
        message.outcome,
        message.delivery_state,
    )
    url = rig.links.url(who, message.message_id, "cart")
    assert [
        ("List-Unsubscribe", f"<{url}>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
    ] == [(h.name, h.value) for h in message.headers]
    assert 32 == len(message.inputs_hash)
    assert message.rfc5322_message_id.endswith("@shop.example.com>")
    assert 3600 * 24 == message.expire_time.seconds - message.create_time.seconds


async def test_absorbed_and_survivor_do_not_both_mail_for_one_cause(rig: Rig) -> None:
    await rig.put()
    survivor, absorbed, cause = rig.profiles.add(), str(uuid.uuid4()), uuid.uuid4().bytes
    rig.profiles.profiles[absorbed] = rig.profiles.profiles[survivor]

    first = await rig.decide(rig.transition(absorbed, cause, revision=9), rig.transition(survivor, cause))
    second = await rig.decide(rig.transition(survivor, cause))

    assert (1, 0) == (first, second)
    assert {"OUTCOME_RENDERED": 1} == await rig.totals()


async def test_two_workers_that_decide_one_cause_at_once_make_one_message(rig: Rig) -> None:
    await rig.put()
    who, cause = rig.profiles.add(), uuid.uuid4().bytes

    appended = await asyncio.gather(*(rig.decide(rig.transition(who, cause)) for _ in range(5)))

    assert 1 == sum(appended)
    assert {"OUTCOME_RENDERED": 1} == await rig.totals()


async def test_a_batch_that_failed_before_its_commit_is_done_again_without_a_trace(rig: Rig) -> None:
    await rig.put()
    transition = rig.transition(rig.profiles.add())
    async with rig.database.pool.acquire() as connection:
        killed = connection.transaction()
        await killed.start()
        await handler_of(rig.decider).handle(connection, rig.batch(transition))
        await killed.rollback()
    before = await rig.totals()
    await rig.decide(transition)
    (message,) = await rig.messages()
    again = await rig.decide(transition)

    assert {} == before
    assert 0 == again
    assert message.idempotency_key


async def test_old_events_are_not_news(rig: Rig) -> None:
    """What is older than the campaign's limit mails nobody, and is recorded as missed with the reason."""
    await rig.put(max_age=Duration(seconds=60))
    late = [rig.transition(str(uuid.uuid4()), age=61) for _ in range(2_000)]

    appended = await rig.decide(*late, rig.transition(rig.profiles.add(), age=60))

    assert 1 == appended
    assert {"OUTCOME_MISSED": 2_000, "OUTCOME_RENDERED": 1} == await rig.totals()
    missed = await rig.messages(outcome=message_pb2.OUTCOME_MISSED, page_size=1)
    assert "the cause was 61 s old; the campaign allows 60 s" == missed[0].outcome_reason


async def test_what_is_missed_asks_nobody(rig: Rig) -> None:
    await rig.put(max_age=Duration(seconds=60), recommendations=3)
    await rig.decide(rig.transition(rig.profiles.add(), age=61))

    assert (0, 0, []) == (rig.profiles.calls, rig.segments.calls, rig.recommends.asked)


@pytest.mark.parametrize(
    ("consent", "stream", "reason"),
    [
        ({}, "STREAM_MARKETING", "no consent to email_marketing"),
        ({"email_marketing": False}, "STREAM_MARKETING", "no consent to email_marketing"),
        (
            {"email_marketing": True, "personalization": False},
            "STREAM_MARKETING",
            "personalization is denied",
        ),
        ({"email_marketing": True, "analytics": False}, "STREAM_MARKETING", ""),
        ({}, "STREAM_TRANSACTIONAL", ""),
        ({"personalization": False}, "STREAM_TRANSACTIONAL", ""),
    ],
)
async def test_what_consent_forbids_is_not_sent(
    rig: Rig, consent: dict[str, bool], stream: str, reason: str
) -> None:
    await rig.put(stream=stream)
    who = rig.profiles.add()
    rig.profiles.profiles[who].consent.clear()
    rig.profiles.profiles[who].consent.update(consent)
    await rig.decide(rig.transition(who))

    (message,) = await rig.messages()
    expected = message_pb2.OUTCOME_SUPPRESSED if reason else message_pb2.OUTCOME_RENDERED
    assert (expected, reason) == (message.outcome, message.outcome_reason)


async def test_who_denies_analytics_gets_no_recommendations(rig: Rig) -> None:
    await rig.put(recommendations=3)
    who = rig.profiles.add()
    rig.profiles.profiles[who].consent["analytics"] = False
    await rig.decide(rig.transition(who))

    (message,) = await rig.messages()
    assert [] == rig.recommends.asked
    assert "Lamp" not in message.html
    assert ["recommendations: analytics or personalization is denied"] == list(message.omitted)


async def test_transactional_mail_has_no_unsubscribe_link(rig: Rig) -> None:
    html = "[{% if unsubscribe_url %}Unsubscribe: {% endif %}{{ unsubscribe_url }}]"
    await rig.put(html=html, stream="STREAM_TRANSACTIONAL")
    await rig.decide(rig.transition(rig.profiles.add()))

    (message,) = await rig.messages()
    assert ("[]", 0) == (message.html, len(message.headers))


async def test_nobody_without_an_address_or_a_profile_gets_mail(rig: Rig) -> None:
    await rig.put()
    await rig.decide(rig.transition(rig.profiles.add(email="")))
    await rig.decide(rig.transition(str(uuid.uuid4())))

    reasons = [message.outcome_reason for message in await rig.messages()]
    assert ["nobody has this profile any more", "no email address"] == reasons


async def test_a_profile_behind_its_transition_is_waited_for(rig: Rig) -> None:
    await rig.put()
    who = rig.profiles.add(revision=4)
    with pytest.raises(Unavailable, match="revision 4, the transition at 5"):
        await rig.decide(rig.transition(who, revision=5))
    rig.profiles.profiles[who].revision = 5

    assert 1 == await rig.decide(rig.transition(who, revision=5))


async def test_while_profile_does_not_answer_nothing_is_decided(rig: Rig) -> None:
    await rig.put()
    who = rig.profiles.add()
    rig.profiles.down = True
    with pytest.raises(Unavailable):
        await rig.decide(rig.transition(who))

    assert {} == await rig.totals()


async def test_recommend_that_fails_does_not_stop_mail(rig: Rig) -> None:
    await rig.put(recommendations=3)
    rig.recommends.down = True
    await rig.decide(rig.transition(rig.profiles.add()))

    (message,) = await rig.messages()
    assert (message_pb2.OUTCOME_RENDERED, 0) == (message.outcome, message.model_version)
    assert ["recommendations: recommend did not answer in time"] == list(message.omitted)


async def test_a_template_that_fails_at_render_does_not_stop_the_others(rig: Rig) -> None:
    await rig.put(html="line\n{% for i in (1..20001) %}{% endfor %}")
    await rig.put(campaign_id="other", template_id="other")
    await rig.decide(rig.transition(rig.profiles.add()))

    found = {message.campaign_id: message for message in await rig.messages()}
    assert message_pb2.OUTCOME_RENDERED == found["other"].outcome
    assert message_pb2.OUTCOME_FAILED == found["cart"].outcome
    assert found["cart"].outcome_reason.startswith("template.html: line 2: loop iteration limit")


async def test_a_runaway_template_fails_its_messages_and_no_others(rig: Rig) -> None:
    await rig.put(html="{% for i in (1..19999) %}{{ (1..19999) | join | size }}{% endfor %}")
    await rig.put(campaign_id="other", template_id="other")
    async with asyncio.timeout(30):
        await rig.decide(*(rig.transition(rig.profiles.add()) for _ in range(20)))

    assert {"OUTCOME_FAILED": 20, "OUTCOME_RENDERED": 20} == await rig.totals()


async def test_a_segment_entry_starts_its_campaign_and_an_exit_does_not(rig: Rig) -> None:
    await rig.put(segment_id="loyal")
    who = rig.profiles.add()
    appended = await rig.decide(
        rig.transition(who, definition="loyal", kind=EXITED),
        rig.transition(who, definition="loyal"),
        rig.transition(who, definition="loyal", kind=ENTERED),
    )

    assert 1 == appended


async def test_a_paused_campaign_decides_nothing(rig: Rig) -> None:
    await rig.put(paused=True)
    await rig.decide(rig.transition(rig.profiles.add()))

    assert {} == await rig.totals()


async def test_render_shows_the_real_context_of_a_person_but_no_real_unsubscribe_link(rig: Rig) -> None:
    await rig.put(recommendations=1)
    who = rig.profiles.add()
    shown = await rig.previews.RenderForProfile(
        pb.RenderForProfileRequest(template_id="cart", profile_id=who, recommendations=1)
    )
    context = orjson.loads(shown.context_json)

    assert {"id": who, "traits": {"name": "Ada"}} == context["profile"]
    assert ["everybody"] == context["segments"]
    assert ["Lamp 1"] == [one["name"] for one in context["recommendations"]]
    assert context["unsubscribe_url"].endswith("/v1/unsubscribe/preview")
    assert "waits, Ada" == shown.subject
