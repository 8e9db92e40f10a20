"""What render keeps, for how long, and beside replicas of another release."""

import uuid

from libs.database.tables import Sweep
from services.render.app import SCHEMA
from tessera.render.v1 import message_pb2
from tests.integration.render.rig import Rig
from tests.integration.render.test_delivering import subscriber

DAY = 86_400
TABLES = ("templates", "template_versions", "campaigns", "campaign_versions", "messages", "contents")


async def test_what_a_mail_said_is_dropped_long_before_the_decision(rig: Rig) -> None:
    await rig.put()
    who, cause = rig.profiles.add(), uuid.uuid4().bytes
    await rig.decide(rig.transition(who, cause))
    sweep = Sweep(rig.database, SCHEMA.tables, clock=lambda: rig.now)

    swept = [await sweep.sweep()]
    rig.now += 36 * DAY
    swept.append(await sweep.sweep())
    (message,) = await rig.messages()
    again = await rig.decide(rig.transition(who, cause))
    rig.now += 365 * DAY
    swept.append(await sweep.sweep())

    assert [{}, {"render.contents": 1}, {"render.messages": 1}] == swept
    assert ("", "", "", b"") == (message.subject, message.html, message.text, message.event_properties_json)
    assert (who, "cart", message_pb2.OUTCOME_RENDERED, "Product Added") == (
        message.profile_id,
        message.campaign_id,
        message.outcome,
        message.event_name,
    )
    # The decision still keeps the same cause from mailing twice.
    assert 0 == again
    assert {} == await rig.totals()


async def test_an_added_column_does_not_break_the_replicas_of_the_version_before(rig: Rig) -> None:
    await rig.put()
    for table in TABLES:
        await rig.database.pool.execute(f"alter table render.{table} add column added text default 'x'")
    who = rig.profiles.add()
    await rig.decide(rig.transition(who))
    granted = await rig.deliveries.next(subscriber())
    changed = await rig.put(html="<p>other", display_name="New")

    assert [who] == [one.message.profile_id for one in granted]
    assert [who] == [message.profile_id for message in await rig.messages()]
    assert ("New", 2) == (changed.display_name, changed.version)
