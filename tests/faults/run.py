"""One run: a system under load, faults at random moments, and then every check."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from libs.times import micros
from tessera.render.v1 import campaign_pb2, campaign_service_pb2, template_pb2, template_service_pb2
from tessera.segment.v1 import segment_pb2, segment_service_pb2, trigger_pb2, trigger_service_pb2
from tests.faults import checks, logs, shop
from tests.faults.kinds import Fault
from tests.faults.load import Load
from tests.faults.system import System
from tests.model import Trigger

READY_SECONDS = 10.0
"""What was killed accepts connections: so much later all must be ready."""
_LATEST_SECONDS = 2.0
_NEAR_SECONDS = 2.0
_SENDER = "Shop <shop@example.com>"


@dataclass(frozen=True)
class Hit:
    """One fault under load, as it was measured. Times are `time.time()`'s."""

    kind: str
    at: float
    back: float
    ready: float
    before: int
    """Events acknowledged in the two seconds before."""
    in_flight: int
    """Calls that waited for their answer at that moment."""
    after: int
    """Events acknowledged in the two seconds after all was ready."""
    proof: str

    @property
    def recovery(self) -> float:
        """Seconds from accepting connections to all being ready."""
        return self.ready - self.back

    @property
    def under_load(self) -> bool:
        """Whether it came, and passed, under load."""
        return self.before > 0 and self.in_flight > 0 and self.after > 0


@dataclass
class Report:
    """What a run has shown."""

    system: str
    hits: list[Hit]
    failures: dict[str, str]
    """By check, what it says."""
    compared: Mapping[str, int]
    most_lines: Mapping[str, float]
    """By kind of fault, the most log lines a second that an outage had."""
    unheard: int
    """Events that were sent, and never acknowledged."""
    failed_calls: int
    repeats: int = 0
    seconds: float = 0.0

    def told(self) -> str:
        """The run for people to read."""
        lines = [
            f"{h.kind}: {h.before} events acknowledged just before, {h.in_flight} calls in flight; "
            f"{h.proof}; down {h.back - h.at:.1f} s, ready after {h.recovery:.1f} s; "
            f"{h.after} events acknowledged just after"
            for h in self.hits
        ]
        totals = f"{dict(self.compared)}, {self.unheard} sent and never acknowledged, "
        totals += f"{self.failed_calls} failed calls, {self.repeats} repeated, {self.seconds:.0f} s"
        failed = [f"FAILED {name}: {said}" for name, said in self.failures.items()]
        return "\n".join([*lines, totals, *failed])


async def run(system: System, faults: Mapping[str, Fault], times: int, seed: int) -> Report:
    """Let each fault strike so many times, in random order, and check everything afterwards."""
    rng = random.Random(seed)
    started = time.time()
    load = Load(system, seed)
    triggers = await define(system)
    order = [kind for kind in faults for _ in range(times)]
    rng.shuffle(order)
    async with load.running():
        hits = [await _strike(system, load, kind, faults[kind], rng) for kind in order]
    found = await checks.gather(system, load, triggers)
    failed = await asyncio.to_thread(checks.failures, found)
    ended = logs.ended_by_themselves(system.logs, started)
    failed |= {"alive": "\n".join(ended)} if ended else {}
    floods, most_lines = logs.floods(system.logs, hits)
    failed |= {"log": "\n".join(floods)} if floods else {}
    failed |= late_or_idle(hits)
    return Report(
        system=system.name,
        hits=hits,
        failures=failed,
        compared=found.compared,
        most_lines=most_lines,
        unheard=len(load.unheard()),
        failed_calls=load.failures,
        repeats=load.repeats,
        seconds=time.time() - started,
    )


async def _strike(system: System, load: Load, kind: str, fault: Fault, rng: random.Random) -> Hit:
    await load.until_busy()
    # A random moment is what is wanted here, whatever is under way.
    await asyncio.sleep(rng.uniform(0, _LATEST_SECONDS))
    await load.until_busy()
    in_flight = load.in_flight
    strike = await fault(system, rng)
    await system.until_ready()
    ready = strike.ready or time.time()
    await load.until_busy()
    await asyncio.sleep(max(0.0, ready + _NEAR_SECONDS - time.time()))
    return Hit(
        kind=kind,
        at=strike.at,
        back=strike.back,
        ready=ready,
        before=load.acknowledged_between(strike.at - _NEAR_SECONDS, strike.at),
        in_flight=in_flight,
        after=load.acknowledged_between(ready, ready + _NEAR_SECONDS),
        proof=strike.proof,
    )


def late_or_idle(hits: Sequence[Hit]) -> dict[str, str]:
    """What was not ready in time, and what did not come under load."""
    late = [f"{h.kind}: {h.recovery:.1f} s" for h in hits if h.recovery > READY_SECONDS]
    idle = [f"{h}" for h in hits if not h.under_load]
    return {
        name: "\n".join(lines)
        for name, lines in (("ready", late), ("load", idle))
        if lines
    }  # fmt: skip


async def define(system: System) -> dict[str, Trigger]:
    """Create the segments, triggers, template and campaigns; returns the triggers for the model."""
    created: dict[str, int] = {}
    async with system.clients() as clients:
        segment = await clients.segment()
        for segment_id, rule in shop.SEGMENTS.items():
            wanted = segment_pb2.Segment(segment_id=segment_id, expression=rule.text)
            await segment.CreateSegment(segment_service_pb2.CreateSegmentRequest(segment=wanted))
        for trigger_id, (name, unless, delay) in shop.TRIGGERS.items():
            trigger = trigger_pb2.Trigger(
                trigger_id=trigger_id,
                event_name=name,
                unless_event_names=unless,
                delay=Duration(seconds=delay),
            )
            request = trigger_service_pb2.CreateTriggerRequest(trigger=trigger)
            answer = await (await clients.triggers()).CreateTrigger(request)
            created[trigger_id] = micros(answer.trigger.create_time)
        template = template_pb2.Template(template_id="note", subject="A note", html="<p>{{ event }}</p>")
        made = template_service_pb2.CreateTemplateRequest(template=template)
        await (await clients.templates()).CreateTemplate(made)
        for campaign in _campaigns():
            request = campaign_service_pb2.CreateCampaignRequest(campaign=campaign)
            await (await clients.campaigns()).CreateCampaign(request)
    return shop.triggers(created)


def _campaigns() -> list[campaign_pb2.Campaign]:
    max_age = Duration(seconds=shop.MOST_AGE_SECONDS)
    return [
        campaign_pb2.Campaign(
            campaign_id="thanks",
            segment_id=shop.CAMPAIGNS["thanks"],
            stream=campaign_pb2.STREAM_TRANSACTIONAL,
            template_id="note",
            max_age=max_age,
            sender=_SENDER,
        ),
        campaign_pb2.Campaign(
            campaign_id="cart",
            trigger_id=shop.CAMPAIGNS["cart"],
            stream=campaign_pb2.STREAM_MARKETING,
            template_id="note",
            max_age=max_age,
            sender=_SENDER,
        ),
    ]
