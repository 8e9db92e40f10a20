"""Leases: who holds a message, for how long, and what is checked when it is handed out."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from libs import rpc
from libs.rpc import open_channel
from services.render.delivery.jobs import ExpireJob
from services.render.delivery.ports import Subscriber
from services.render.delivery.sql.queue import SqlQueue
from tessera.render.v1 import delivery_service_pb2 as pb
from tessera.render.v1 import delivery_service_pb2_grpc, message_pb2
from tests.integration.render.rig import Rig

LEASED = message_pb2.DELIVERY_STATE_LEASED
ACKNOWLEDGED = message_pb2.DELIVERY_STATE_ACKNOWLEDGED
REJECTED = message_pb2.DELIVERY_STATE_REJECTED
WITHDRAWN = message_pb2.DELIVERY_STATE_WITHDRAWN
PENDING = message_pb2.DELIVERY_STATE_PENDING

HOLDERS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(10)]


def subscriber(number: int = 0, most: int = 100, seconds: int = 60) -> Subscriber:
    return Subscriber(HOLDERS[number], most, seconds, None)


async def mailed(rig: Rig, count: int = 1, **campaign: Any) -> list[str]:
    """Messages that wait, and whose they are."""
    await rig.put(**campaign)
    people = [rig.profiles.add() for _ in range(count)]
    await rig.decide(*(rig.transition(who) for who in people))
    return people


def lease_of(granted: Any) -> pb.Lease:
    return pb.Lease(message_id=granted.lease.message_id, lease_id=granted.lease.lease_id)


async def acknowledge(rig: Rig, *granted: Any) -> list[Any]:
    request = pb.AcknowledgeMessagesRequest(leases=[lease_of(one) for one in granted])
    return list((await rig.connectors.AcknowledgeMessages(request)).lost)


async def reject(rig: Rig, granted: Any, retry: bool, after: int | None = None) -> list[Any]:
    request = pb.RejectMessagesRequest(
        leases=[lease_of(granted)],
        reason="mailbox full",
        retry=retry,
        retry_after=None if after is None else Duration(seconds=after),
    )
    return list((await rig.connectors.RejectMessages(request)).lost)


async def state(rig: Rig) -> tuple[int, str]:
    (message,) = await rig.messages()
    return message.delivery_state, message.outcome_reason


async def test_a_message_reaches_a_subscriber_that_was_waiting(rig: Rig) -> None:
    stream = rig.connectors.Subscribe(pb.SubscribeRequest(connector="test"))
    reading = asyncio.ensure_future(stream.read())
    await mailed(rig)
    response = await asyncio.wait_for(reading, 10)
    again = asyncio.ensure_future(stream.read())
    lease = pb.Lease(message_id=response.message.message_id, lease_id=response.lease_id)
    answers = [
        await rig.connectors.AcknowledgeMessages(pb.AcknowledgeMessagesRequest(leases=[lease]))
        for _ in range(2)
    ]
    found = await state(rig)
    again.cancel()
    stream.cancel()

    assert (1, LEASED) == (response.attempt, response.message.delivery_state)
    assert [[], []] == [list(answer.lost) for answer in answers]
    assert (ACKNOWLEDGED, "") == found


async def test_a_connector_learns_that_it_is_subscribed_before_there_is_a_message(rig: Rig) -> None:
    stream = rig.connectors.Subscribe(pb.SubscribeRequest(connector="test"))
    await asyncio.wait_for(stream.initial_metadata(), 10)
    stream.cancel()


async def test_a_stream_holds_no_more_than_its_limit(rig: Rig) -> None:
    await mailed(rig, 5)
    first = await rig.deliveries.next(subscriber(most=3))
    second = await rig.deliveries.next(subscriber(most=3))
    await acknowledge(rig, first[0], first[1])
    third = await rig.deliveries.next(subscriber(most=3))

    assert (3, 0, 2) == (len(first), len(second), len(third))


async def test_two_connectors_share_the_work(rig: Rig) -> None:
    await mailed(rig, 40)
    shares = await asyncio.gather(*(rig.deliveries.next(subscriber(n, most=20)) for n in range(2)))
    ids = [one.lease.message_id for share in shares for one in share]

    assert len(ids) == len(set(ids))
    assert all(shares)


async def test_what_is_not_acknowledged_comes_again_the_same(rig: Rig) -> None:
    await mailed(rig)
    (first,) = await rig.deliveries.next(subscriber())
    none_yet = await rig.deliveries.next(subscriber(1))
    rig.now += 60
    (second,) = await rig.deliveries.next(subscriber(1))

    assert [] == none_yet
    assert (1, 2) == (first.attempt, second.attempt)
    assert first.message == second.message
    assert first.lease != second.lease


async def test_a_delivered_message_keeps_no_reason_of_an_earlier_attempt(rig: Rig) -> None:
    await mailed(rig)
    (first,) = await rig.deliveries.next(subscriber())
    await reject(rig, first, retry=True, after=0)
    waiting = await state(rig)
    (second,) = await rig.deliveries.next(subscriber())
    await acknowledge(rig, second)

    assert [(PENDING, "mailbox full"), (ACKNOWLEDGED, "")] == [waiting, await state(rig)]


async def test_a_lease_that_another_has_taken_over_is_lost(rig: Rig) -> None:
    await mailed(rig)
    (first,) = await rig.deliveries.next(subscriber())
    rig.now += 60
    (second,) = await rig.deliveries.next(subscriber(1))
    lost = await acknowledge(rig, first)
    before = await state(rig)
    kept = await acknowledge(rig, second)

    assert [lease_of(first)] == lost
    assert (LEASED, "") == before
    assert [] == kept


async def test_a_late_acknowledgement_counts_while_nobody_has_taken_over(rig: Rig) -> None:
    await mailed(rig)
    (granted,) = await rig.deliveries.next(subscriber())
    rig.now += 600
    lost = await acknowledge(rig, granted)

    assert ([], []) == (lost, await rig.deliveries.next(subscriber()))


async def test_a_rejected_message_is_offered_again_later_each_time(rig: Rig) -> None:
    await mailed(rig)
    granted = await rig.deliveries.next(subscriber())
    pauses = []
    for _ in range(4):
        for _twice in range(2):
            assert [] == await reject(rig, granted[0], retry=True)
        began = rig.now
        while not (granted := await rig.deliveries.next(subscriber())):
            rig.now += 5
        pauses.append(rig.now - began)

    assert [5, 10, 20, 40] == pauses


async def test_a_connector_says_when_a_message_is_to_be_offered_again(rig: Rig) -> None:
    await mailed(rig)
    (granted,) = await rig.deliveries.next(subscriber())
    lost = await reject(rig, granted, retry=True, after=300)
    rig.now += 299
    early = await rig.deliveries.next(subscriber(1))
    rig.now += 1
    (again,) = await rig.deliveries.next(subscriber(1))
    given_back = await reject(rig, again, retry=True, after=0)
    (taken,) = await rig.deliveries.next(subscriber(2))

    assert ([], [], []) == (lost, early, given_back)
    assert 3 == taken.attempt


@pytest.mark.parametrize(("retry", "after"), [(True, -1), (True, 86_401), (False, 0)])
async def test_a_pause_that_can_not_be_kept_is_refused(rig: Rig, retry: bool, after: int) -> None:
    await mailed(rig)
    (granted,) = await rig.deliveries.next(subscriber())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await reject(rig, granted, retry, after)

    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
    assert "retry_after" == rpc.error_from(refused.value).metadata["field"]
    assert (LEASED, "") == await state(rig)


async def test_a_message_that_was_given_up_is_not_offered_again(rig: Rig) -> None:
    await mailed(rig)
    (granted,) = await rig.deliveries.next(subscriber())
    lost = await reject(rig, granted, retry=False)
    rig.now += 3600

    assert [] == lost
    assert [] == await rig.deliveries.next(subscriber())
    assert (REJECTED, "mailbox full") == await state(rig)


async def test_messages_are_listed_by_how_their_delivery_stands(rig: Rig) -> None:
    await mailed(rig, 3)
    first, second, third = await rig.deliveries.next(subscriber())
    await acknowledge(rig, first)
    await reject(rig, second, retry=False)
    found = [await rig.messages(delivery_state=one) for one in (ACKNOWLEDGED, REJECTED, LEASED, WITHDRAWN)]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rig.messages(delivery_state=9)

    assert [[first.lease.message_id], [second.lease.message_id], [third.lease.message_id], []] == [
        [message.message_id for message in some] for some in found
    ]
    assert "delivery_state" == rpc.error_from(refused.value).metadata["field"]


async def test_rejecting_what_was_acknowledged_changes_nothing(rig: Rig) -> None:
    await mailed(rig)
    (granted,) = await rig.deliveries.next(subscriber())
    await acknowledge(rig, granted)
    lost = [await reject(rig, granted, retry=retry) for retry in (True, False)]

    assert [[lease_of(granted)]] * 2 == lost
    assert (ACKNOWLEDGED, "") == await state(rig)


async def test_consent_withdrawn_after_the_rendering_withdraws_the_message(rig: Rig) -> None:
    (who,) = await mailed(rig)
    rig.profiles.profiles[who].consent["email_marketing"] = False

    assert [] == await rig.deliveries.next(subscriber())
    assert (WITHDRAWN, "no consent to email_marketing") == await state(rig)


async def test_consent_is_checked_again_at_a_second_delivery(rig: Rig) -> None:
    (who,) = await mailed(rig)
    (granted,) = await rig.deliveries.next(subscriber())
    rig.profiles.profiles[who].consent["email_marketing"] = False
    rig.now += 60
    none = await rig.deliveries.next(subscriber())

    assert [] == none
    assert WITHDRAWN == (await state(rig))[0]
    assert granted.attempt == 1


async def test_a_person_who_is_gone_or_has_another_address_gets_nothing(rig: Rig) -> None:
    gone, moved = await mailed(rig, 2)
    del rig.profiles.profiles[gone]
    rig.profiles.profiles[moved].identifiers[0].value = "eve@example.com"
    rig.profiles.profiles[moved].email = "eve@example.com"
    none = await rig.deliveries.next(subscriber())
    reasons = {message.outcome_reason for message in await rig.messages()}

    assert [] == none
    assert {"nobody has this profile any more", "the address is no longer this person's"} == reasons


async def test_while_profile_does_not_answer_nothing_is_handed_out(rig: Rig) -> None:
    await mailed(rig)
    rig.profiles.down = True
    none = await rig.deliveries.next(subscriber())
    found = await state(rig)
    rig.profiles.down = False
    rig.now += 1
    (granted,) = await rig.deliveries.next(subscriber())

    assert ([], PENDING, 1) == (none, found[0], granted.attempt)


async def test_a_message_that_waited_too_long_is_withdrawn(rig: Rig) -> None:
    await mailed(rig, 2, expire_after=Duration(seconds=600))
    (held,) = await rig.deliveries.next(subscriber(most=1, seconds=900))
    rig.now += 600
    await ExpireJob(SqlQueue(rig.database), lambda: rig.now).expire()
    states = {message.delivery_state for message in await rig.messages()}
    none = await rig.deliveries.next(subscriber(1))

    assert {LEASED, WITHDRAWN} == states
    assert [] == none
    assert [] == await acknowledge(rig, held)


async def test_a_stream_that_nobody_knows_is_not_all_streams(rig: Rig) -> None:
    await mailed(rig)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rig.connectors.Subscribe(pb.SubscribeRequest(connector="test", stream=9)).read()

    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
    assert "stream" == rpc.error_from(refused.value).metadata["field"]
    assert (PENDING, "") == await state(rig)


async def test_a_draining_server_ends_its_streams(rig: Rig) -> None:
    stream = rig.connectors.Subscribe(pb.SubscribeRequest(connector="test"))
    reading = asyncio.ensure_future(stream.read())
    await mailed(rig)
    await asyncio.wait_for(reading, 10)
    end = asyncio.ensure_future(stream.read())
    rig.stopping.set()

    assert grpc.aio.EOF is await asyncio.wait_for(end, 5)


async def test_who_may_not_read_personal_data_gets_no_messages(rig: Rig) -> None:
    async with open_channel(rig.address, api_key="blind") as channel:
        stream = delivery_service_pb2_grpc.DeliveryServiceStub(channel).Subscribe(
            pb.SubscribeRequest(connector="blind")
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream.read()

    assert grpc.StatusCode.PERMISSION_DENIED == refused.value.code()
    assert "pii.read" == rpc.error_from(refused.value).metadata["permission"]
