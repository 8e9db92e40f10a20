"""Refusals by address on the real database: stored, found, and never lost between two batches."""

from collections.abc import Sequence

from tessera.ingest.v1.ingest_events_pb2 import EventCollected
from tests.builders import SECOND, collected, micros
from tests.integration.messaging.harness import running
from tests.integration.profile.harness import Deployment, assert_exact, key_for

MAIL = "email_marketing"
FAMILY = "family@example.com"


def _granting(number: int, at: int, **more: str) -> EventCollected:
    return collected(user_id=f"{number}", consent={MAIL: True}, at=at, received=at, **more)


async def _allowed(deployment: Deployment, *user_ids: int) -> Sequence[bool]:
    return [(await deployment.profile(f"u:{n}")).consent[MAIL].granted for n in user_ids]


async def test_a_spam_complaint_that_names_only_an_address_which_two_user_ids_share(
    deployment: Deployment,
) -> None:
    now = micros()
    for number in (1, 2):
        await deployment.apply(_granting(number, now - SECOND, email=FAMILY))
    before = await _allowed(deployment, 1, 2)
    await deployment.apply(collected(email=FAMILY, consent={MAIL: False}))
    after = await _allowed(deployment, 1, 2)
    # Who comes to have the address later is refused as well; who opts in after that is not.
    await deployment.apply(_granting(3, now - SECOND, email=FAMILY))
    await deployment.apply(_granting(2, micros(), email=FAMILY))
    told = await deployment.updates()

    await assert_exact(deployment)
    assert [True, True] == before
    assert [False, False] == after
    assert [False, True, False] == await _allowed(deployment, 1, 2, 3)
    assert 3 == len(await deployment.profiles()), "no orphan"
    for number in (1, 2, 3):
        steps = told[(await deployment.profile(f"u:{number}")).profile_id]
        assert any(not change.consent.granted for step in steps for change in step.consent_changes)


async def test_an_unsubscribe_link_names_the_profile_whatever_it_was_merged_into(
    deployment: Deployment,
) -> None:
    await deployment.apply(collected(anonymous_id="a", consent={MAIL: True}, at=1, received=1))
    asked = (await deployment.profile("a:a")).profile_id
    await deployment.apply(collected(user_id="1", email=FAMILY))
    await deployment.apply(collected(user_id="1", anonymous_id="a"))
    await deployment.apply(collected(profile_id=asked, anonymous_id="page", consent={MAIL: False}))
    refused = await deployment.database.pool.fetch("select address from profile.address_refusals")

    await assert_exact(deployment)
    assert [False] == await _allowed(deployment, 1)
    assert asked in (await deployment.profile("u:1")).absorbed
    assert [f"e:{FAMILY}"] == [row[0] for row in refused]


async def test_a_complaint_and_who_comes_to_have_the_address_at_the_same_moment(
    deployment: Deployment,
) -> None:
    """On two partitions at once, in any interleaving, the refusal reaches them."""
    now = micros() - SECOND
    for number in (1, 2):
        await deployment.apply(collected(user_id=f"{number}", email=FAMILY))
    async with running(deployment.consumer(workers=2, batch_records=3)):
        for number in range(3, 23):
            device = key_for(number % 2, f"device {number}")
            await deployment.send(
                _granting(number, now, email=FAMILY, anonymous_id=device),
                collected(email=FAMILY, consent={MAIL: False}),
            )
        await deployment.drain()

    await assert_exact(deployment)
    assert [False] * 20 == await _allowed(deployment, *range(3, 23))


async def test_a_tills_anonymous_id_identifies_g1_who_refuses_then_g2_who_grants(
    deployment: Deployment,
) -> None:
    for number, granted in ((1, False), (2, True), (3, False)):
        address = f"g{number}@example.com"
        await deployment.apply(collected(email=address, anonymous_id="till", consent={MAIL: granted}))
    await deployment.apply(collected(anonymous_id="till"))
    allowed = [(await deployment.profile(f"e:g{n}@example.com")).consent[MAIL].granted for n in (1, 2, 3)]

    await assert_exact(deployment)
    assert [False, True, False] == allowed
    assert 1 == len(await deployment.unassigned())


async def test_analytics_denied_yesterday_an_event_that_says_nothing_today(deployment: Deployment) -> None:
    yesterday = micros() - 86_400 * SECOND
    await deployment.apply(collected(user_id="1", consent={"analytics": False}, at=yesterday))
    today = collected("Secret Viewed", user_id="1", properties={"sku": "Secret"})
    today.context_json = b'{"page":"Secret"}'
    await deployment.apply(today, collected(user_id="1", traits={"plan": "Secret"}))
    profile = await deployment.profile("u:1")
    stored = [row[0] for row in await deployment.database.pool.fetch("select body from profile.history")]
    told = [value for *_, value in await deployment.topic("profile.updates")]

    assert 3 == profile.events
    assert {} == profile.traits
    assert not any(b"Secret" in body for body in [*stored, *told])
