"""What every connector does, whatever it carries messages to."""

import asyncio
from dataclasses import dataclass, field

from connectors import delivery
from connectors.delivery import DELIVERED, Connector, Options, Result
from tessera.render.v1.message_pb2 import Message
from tests.integration.connectors.fake_render import FakeRender, message, serving


@dataclass
class Slow:
    """Takes as long for a message as the test says, and answers what the test says."""

    seconds: float = 0
    result: Result = DELIVERED
    taken: list[str] = field(default_factory=list)

    async def deliver(self, message: Message) -> Result:
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
