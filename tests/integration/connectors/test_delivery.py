"""What every connector does, whatever it carries messages to."""

import asyncio
from dataclasses import dataclass, field

from connectors import delivery
from connectors.delivery import DELIVERED, Connector, Options, Result, Verdict
from tessera.render.v1.message_pb2 import Message
from tests.integration.connectors.fake_render import FakeRender, message, serving


@dataclass
class Slow:
    """Takes as long for a message as the test says, and answers what the test says."""

    seconds: float = 0
    result: Result = DELIVERED
    taken: list[str] = field(default_factory=list)
    busy: asyncio.Event = field(default_factory=asyncio.Event)

    async def deliver(self, message: Message) -> Result:
        self.busy.set()
        await asyncio.sleep(self.seconds)
        self.taken.append(message.idempotency_key)
        return self.result

    async def rest(self) -> None:
        return


async def run(render: FakeRender, carrier: Slow, options: Options, stopping: asyncio.Event) -> None:
    async with serving(render) as address, delivery.open_channel(address, "") as channel:
        await asyncio.wait_for(Connector(channel, carrier, options).run(stopping), 20)


async def test_a_message_whose_lease_ended_before_its_turn_is_left_to_others() -> None:
    render = FakeRender(message("key-1"), message("key-2"))
    carrier = Slow(seconds=1.2)
    await run(render, carrier, Options("test", lease_seconds=1, idle_seconds=0.5), asyncio.Event())

    assert ["key-1"] == carrier.taken == render.acknowledged
    assert [] == render.rejections


async def test_a_message_that_has_expired_is_not_delivered() -> None:
    late = message("late")
    late.expire_time.FromSeconds(1)
    render, carrier = FakeRender(late, message("in time")), Slow()
    await run(render, carrier, Options("test", idle_seconds=0.5), asyncio.Event())

    assert ["in time"] == carrier.taken == render.acknowledged


async def test_a_connector_that_stops_finishes_what_it_began_and_gives_the_rest_back() -> None:
    render = FakeRender(*(message(f"key-{n}") for n in range(5)))
    carrier, stopping = Slow(seconds=0.5), asyncio.Event()
    running = asyncio.create_task(run(render, carrier, Options("test"), stopping))
    await asyncio.wait_for(carrier.busy.wait(), 10)
    stopping.set()
    await running

    begun, rest = carrier.taken, {f"key-{n}" for n in range(5)} - set(carrier.taken)
    assert begun == render.acknowledged
    assert len(rest) >= 3
    assert {(key, True, "the connector stopped") for key in rest} == set(render.rejections)
    assert {0} == set(render.pauses)


async def test_a_receiver_that_says_when_to_come_again_is_obeyed() -> None:
    render = FakeRender(message())
    carrier = Slow(result=Result(Verdict.RETRY, "429 too many", retry_after_seconds=300))
    await run(render, carrier, Options("test", idle_seconds=0.5), asyncio.Event())

    assert ([("key-1", True, "429 too many")], [300]) == (render.rejections, render.pauses)
