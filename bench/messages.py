"""From a cause to its message: a trigger that is due, and an event that makes somebody enter a segment.

The messages are taken from render's stream, as a connector takes them, so each is on the log before.
"""

import asyncio
import time
from dataclasses import dataclass, field

import orjson

from bench import load, stack
from bench.pipeline import define, steady
from cli.clients import Clients
from libs.times import micros
from tessera.ingest.v1 import event_pb2
from tessera.ingest.v1 import ingest_service_pb2 as ingest
from tessera.render.v1 import (
    campaign_pb2,
    campaign_service_pb2,
    delivery_service_pb2,
    template_pb2,
    template_service_pb2,
)
from tessera.segment.v1 import segment_pb2, trigger_pb2, trigger_service_pb2

_DELAY_SECONDS = 2
_SUBJECT = "Hello {{ profile.traits.first_name }}"
_HTML = "<p>Hello {{ profile.traits.first_name }}, you looked at {{ event.product_id }}.</p>"


@dataclass(slots=True)
class Delays:
    """Seconds from cause to message, sorted."""

    trigger: list[float] = field(default_factory=list)
    """From the time at which the wait was over."""
    entry: list[float] = field(default_factory=list)
    """From the event's acknowledgement."""


async def delays(seconds: float, per_second: int = 500) -> Delays:
    """Under a steady load of other people's events, four people a second view, and abandon a cart."""
    async with stack.running() as clients:
        key = await stack.write_key(clients)
        await _prepare(clients)
        found = Delays()
        acknowledged: dict[str, float] = {}
        taking = asyncio.create_task(_take(clients, found, acknowledged))
        background = asyncio.create_task(steady(clients, key, seconds, per_second))
        number = 0
        while not background.done():
            await _visit(clients, key, f"visitor-{number}", acknowledged)
            number += 1
            await asyncio.sleep(0.25)
        await background
        async with asyncio.timeout(30):
            while len(found.trigger) < number or len(found.entry) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        found.trigger.sort()
        found.entry.sort()
        return found


async def _prepare(clients: Clients) -> None:
    viewed = segment_pb2.Segment(segment_id="viewed", expression='events("Viewed").count() > 0')
    await define(clients, [*load.segments(100), viewed])
    cart = trigger_pb2.Trigger(trigger_id="cart", event_name="Cart", unless_event_names=["Paid"])
    cart.delay.FromSeconds(_DELAY_SECONDS)
    await (await clients.triggers()).CreateTrigger(trigger_service_pb2.CreateTriggerRequest(trigger=cart))
    template = template_pb2.Template(template_id="hello", subject=_SUBJECT, html=_HTML)
    made = template_service_pb2.CreateTemplateRequest(template=template)
    await (await clients.templates()).CreateTemplate(made)
    for campaign in (
        campaign_pb2.Campaign(campaign_id="viewed", segment_id="viewed"),
        campaign_pb2.Campaign(campaign_id="cart", trigger_id="cart"),
    ):
        campaign.template_id, campaign.stream = "hello", campaign_pb2.STREAM_TRANSACTIONAL
        campaign.sender, campaign.accept_untrusted = "Shop <shop@example.com>", True
        request = campaign_service_pb2.CreateCampaignRequest(campaign=campaign)
        await (await clients.campaigns()).CreateCampaign(request)


async def _visit(clients: Clients, key: str, user: str, acknowledged: dict[str, float]) -> None:
    """Somebody new views a product and fills a cart, in one call."""
    traits = orjson.dumps({"email": f"{user}@example.com", "first_name": user})
    named = event_pb2.Event(type=event_pb2.EVENT_TYPE_IDENTIFY, user_id=user, traits_json=traits)
    product = orjson.dumps({"product_id": "sku-1"})
    viewed, cart = (
        event_pb2.Event(type=event_pb2.EVENT_TYPE_TRACK, user_id=user, name=name, properties_json=product)
        for name in ("Viewed", "Cart")
    )
    request = ingest.CollectEventsRequest(write_key=key, events=[named, viewed, cart])
    answer = await (await clients.ingest()).CollectEvents(request)
    acknowledged[user] = time.time()
    assert answer.accepted == 3, answer.rejections


async def _take(clients: Clients, found: Delays, acknowledged: dict[str, float]) -> None:
    """Note when each message comes, and acknowledge it."""
    deliveries = await clients.deliveries()
    asked = delivery_service_pb2.SubscribeRequest(connector="bench", max_in_flight=1000)
    async for answer in deliveries.Subscribe(asked):
        now = time.time()
        message = answer.message
        if message.campaign_id == "cart":
            found.trigger.append(now - micros(message.cause_time) / 1e6)
        else:
            user = message.to.partition("@")[0]
            # The message may be faster than the answer to the call that caused it.
            found.entry.append(max(0.0, now - acknowledged.get(user, now)))
        lease = delivery_service_pb2.Lease(message_id=message.message_id, lease_id=answer.lease_id)
        await deliveries.AcknowledgeMessages(delivery_service_pb2.AcknowledgeMessagesRequest(leases=[lease]))
