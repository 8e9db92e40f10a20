"""What waits in the log while profile is away."""

from dataclasses import replace

import pytest

from services.segment.triggers.model import TriggerDefinition
from tests import model
from tests.integration.messaging.harness import running
from tests.integration.pipeline.harness import open_pipeline
from tests.model.lives import START


@pytest.mark.parametrize("log", ["postgres", "kafka"])
async def test_the_answer_waits_in_the_log(
    log: str, database_url: str, request: pytest.FixtureRequest
) -> None:
    """Cart, profile stopped, checkout collected, due time passes, profile back: no trigger."""
    servers = request.getfixturevalue("kafka") if log == "kafka" else ""
    async with open_pipeline(database_url, servers, START) as pipeline, running(*pipeline.others()):
        wait = TriggerDefinition("cart", "", "Cart", ("Order",), model.HOUR, "")
        await pipeline.triggers.insert(wait, "")
        async with running(*pipeline.profile()):
            await pipeline.settled()
            carts = [
                model.Event(f"cart {user}", pipeline.clock.now(), name="Cart", user_id=user)
                for user in ("answers", "leaves")
            ]
            await pipeline.send(carts)
            await pipeline.settled()
        order = replace(carts[0], message_id="order", name="Order", time=carts[0].time + model.HOUR // 2)
        pipeline.clock.pass_by(model.HOUR // 2)
        await pipeline.send([order])
        pipeline.clock.pass_by(3 * model.HOUR)
        reached = await pipeline.database.pool.fetchval("select max(clock) from segment.partitions")
        async with running(*pipeline.profile()):
            await pipeline.settled()

    assert reached < order.time, "nobody could know what had been collected by then"
    assert [("cart", carts[1].event_id, carts[1].time + model.HOUR)] == pipeline.fired()
