"""The demo's course: history, model, live events, messages."""

import asyncio
import hashlib
import itertools
import os
import re
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from cli.access import CONNECTOR, key_name
from cli.applying import apply
from cli.clients import Clients
from cli.commands.sources import KINDS
from cli.commands.training import run_training
from cli.definitions import load
from cli.demo import journey
from cli.demo.report import Report
from cli.demo.sending import Sender
from cli.demo.steps import Steps
from cli.formats import word
from cli.home import Home
from cli.lag import drain
from cli.log_lines import MergedLog
from cli.pages import pages
from cli.replay import History, SourcedCall, timeline
from cli.secret_files import SecretFiles
from cli.sources import ensure_source, write_key
from cli.supervisor import Program, Supervised
from cli.terminal import short
from libs.observability.traces import new_traceparent
from tessera.profile.v1 import profile_service_pb2 as profile_pb
from tessera.recommend.v1 import recommend_service_pb2 as recommend_pb
from tessera.render.v1 import message_service_pb2 as message_pb
from tessera.render.v1.message_pb2 import DeliveryState, Message, Outcome
from tessera.segment.v1 import segment_service_pb2 as segment_pb

HELD_BACK = 200
_CONNECTIONS = 4
_TICK_SECONDS = 0.25
_TRIGGER_SECONDS = 3.5
"""The examples' live triggers fire three seconds after the event that started them."""
_DELIVERY_SECONDS = 20.0
_MODEL_SECONDS = 15.0
_NOBODY = str(uuid.UUID(int=0))
_NOTE = "Unsubscribe links lead to {http}, while it runs: tessera up --home {home}"
_UNDELIVERED = (DeliveryState.DELIVERY_STATE_PENDING, DeliveryState.DELIVERY_STATE_LEASED)


@dataclass(slots=True)
class Scenario:
    """One run over a stack that is ready."""

    home: Home
    clients: Clients
    history: History
    log: MergedLog
    steps: Steps
    report: Report
    live_seconds: float

    async def run(self) -> None:
        """Everything, in its order; the report is filled in as far as it came."""
        running = self.clients.running
        await self._define()
        keys = await self._sources()
        limits = httpx.Limits(max_connections=_CONNECTIONS)
        async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:
            sender = Sender(client, running.http, keys)
            try:
                held = await self._replay(sender)
                await self._train()
                async with self._connector():
                    traced = await self._live(sender, held)
                    await self._deliver()
            finally:
                self.report.events_accepted = sender.sent.accepted
                self.report.events_rejected = sender.sent.rejected
        with self.steps.step("report", "figures gathered"):
            await self._count()
            await self._tell(traced)

    async def _define(self) -> None:
        with self.steps.step("definitions", "definitions applied") as step:
            definitions = load(self.history.examples)
            applied = [one async for one in apply(self.clients, definitions)]
            step.title = f"{len(applied)} definitions applied from {self.history.examples.name}"

    async def _sources(self) -> dict[str, str]:
        return {
            source.source_id: write_key(
                await ensure_source(self.clients, source.source_id, KINDS[source.kind])
            )
            for source in self.history.sources
        }

    async def _replay(self, sender: Sender) -> deque[SourcedCall]:
        earlier, held = timeline.hold_back(self.history.calls(), HELD_BACK)
        with self.steps.step("sending", "sending the history") as step:
            step.of(None if self.history.count is None else self.history.count - HELD_BACK)
            started = time.monotonic()
            await sender.send_all(timeline.batches(earlier), _CONNECTIONS, step.advance)
            self.report.sending_seconds = round(step.seconds, 2)
            rate = sender.sent.accepted / max(step.seconds, 0.001)
            step.title = f"{sender.sent.accepted:,} events of history accepted, {rate:,.0f}/s"
        with self.steps.step("applying", "every one in its profile and segments") as step:
            await self._drain("segment", step.remaining)
        self.report.applied_seconds = round(time.monotonic() - started, 2)
        return held

    async def _train(self) -> None:
        with self.steps.step("training", "model trained") as step:
            output = await asyncio.to_thread(run_training, self.home, self.clients.running)
            self.report.model = output.splitlines()[0] if output else ""
            step.title = self.report.model or step.title
            recommend = await self.clients.recommend()
            # It serves once the replica has noticed it: the live messages are to be its work.
            deadline = time.monotonic() + _MODEL_SECONDS
            while time.monotonic() < deadline:
                answer = await recommend.Recommend(recommend_pb.RecommendRequest(profile_id=_NOBODY, limit=1))
                if answer.model_version:
                    return
                await asyncio.sleep(_TICK_SECONDS)
            self.report.problems.append("recommend did not take the new model into use")

    @asynccontextmanager
    async def _connector(self) -> AsyncIterator[None]:
        """Delivers into the outbox meanwhile."""
        address = self.clients.running.services["render"].grpc
        key_file = SecretFiles(self.home.secrets).path(key_name(CONNECTOR))
        arguments = ["--address", address, "--api-key-file", str(key_file), "--folder", str(self.home.outbox)]
        arguments += ["--note", _NOTE.format(http=self.clients.running.http, home=short(self.home.folder))]
        program = Program("connector", (sys.executable, "-m", "connectors.folder", *arguments), os.environ)
        connector, stopping = Supervised(program, self.log), asyncio.Event()
        running = asyncio.create_task(connector.run(stopping))
        try:
            yield
        finally:
            stopping.set()
            await running
            if connector.restarts:
                self.report.problems.append(f"the connector was started again {connector.restarts} times")

    async def _live(self, sender: Sender, held: Collection[SourcedCall]) -> dict[bytes, str]:
        """Send what was held back as it happens; return the trace of each event by its id."""
        traced: dict[bytes, str] = {}
        ticks = max(1, round((self.live_seconds - _TRIGGER_SECONDS) / _TICK_SECONDS))
        size = -(-len(held) // ticks)
        with self.steps.step("live", "events as they happen") as step:
            step.of(len(held))
            loop = asyncio.get_running_loop()
            due = loop.time()
            for calls in _parts(held, size):
                due += _TICK_SECONDS
                await asyncio.sleep(max(0.0, due - loop.time()))
                now = datetime.now(UTC)
                for batch in timeline.batches(timeline.restamp(calls, now, _TICK_SECONDS)):
                    traceparent = new_traceparent(sampled=True)
                    await sender.send(batch, traceparent)
                    for source, call in calls:
                        if source == batch.source:
                            traced[event_id(source, call["messageId"])] = traceparent.split("-")[1]
                    step.advance(batch.count)
            await asyncio.sleep(_TRIGGER_SECONDS)
            step.title = (
                f"{len(held)} events as they happened, and {_TRIGGER_SECONDS:g} s for carts to be left"
            )
        self.report.live_events = len(held)
        return traced

    async def _deliver(self) -> None:
        with self.steps.step("delivery", "messages delivered") as step:
            await self._drain("render", step.remaining)
            deadline = time.monotonic() + _DELIVERY_SECONDS
            while True:
                rendered = await self._messages()
                outcomes = await self._outcomes()
                left = sum(message.delivery_state in _UNDELIVERED for message in rendered)
                # Both figures of one moment: a trigger may have come due between them.
                if not left and outcomes.get("rendered", 0) == len(rendered):
                    break
                if time.monotonic() > deadline:
                    self.report.problems.append(f"{left} messages were not delivered: see the log")
                    break
                await asyncio.sleep(_TICK_SECONDS)
            states = Counter(message.delivery_state for message in rendered)
            self.report.messages = outcomes
            self.report.delivered = states[DeliveryState.DELIVERY_STATE_ACKNOWLEDGED]
            self.report.withdrawn = states[DeliveryState.DELIVERY_STATE_WITHDRAWN]
            step.title = f"{self.report.delivered:,} messages delivered into {self.home.outbox.name}"

    async def _count(self) -> None:
        report = self.report
        profiles = await (await self.clients.profile()).ListProfiles(
            profile_pb.ListProfilesRequest(page_size=1, count_all=True)
        )
        report.profiles = profiles.total_size
        segment = await self.clients.segment()
        async for page in pages(segment.ListSegments, segment_pb.ListSegmentsRequest()):
            report.segments |= {s.segment_id: s.member_count for s in page.segments}
        report.transitions = {
            kind: int(count)
            for kind, count in (await self._metric("segment", "tessera_transitions_total")).items()
        }
        await self._look_for_problems()

    async def _look_for_problems(self) -> None:
        report = self.report
        if not report.messages.get("rendered"):
            report.problems.append("no message came out")
        if report.messages.get("failed"):
            report.problems.append(f"{report.messages['failed']} messages could not be rendered")
        if report.events_rejected:
            report.problems.append(f"{report.events_rejected} events were rejected: tessera rejected")
        for service in self.clients.running.services:
            for group, count in (await self._metric(service, "tessera_dead_letters_total")).items():
                report.problems.append(f"{count:g} dead letters of {group}: see the log")

    async def _metric(self, service: str, name: str) -> dict[str, float]:
        """A service's counter, by the value of its first label."""
        address = self.clients.running.services[service].metrics
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"http://{address}/metrics")).text
        pattern = re.compile(rf'^{name}{{\w+="([^"]*)".*?}} (\S+)$', re.MULTILINE)
        return {label: float(value) for label, value in pattern.findall(text) if float(value)}

    async def _tell(self, traced: dict[bytes, str]) -> None:
        message = journey.choose(await self._messages(), traced)
        if message is not None:
            trace_id = traced.get(message.cause_id, "")
            self.report.journey = await journey.tell(self.clients, message, self.home.spans, trace_id)

    async def _messages(self) -> list[Message]:
        messages = await self.clients.messages()
        request = message_pb.ListMessagesRequest(outcome=Outcome.OUTCOME_RENDERED)
        listed = pages(messages.ListMessages, request)
        return [message async for page in listed for message in page.messages]

    async def _outcomes(self) -> dict[str, int]:
        counted = await (await self.clients.messages()).CountMessages(message_pb.CountMessagesRequest())
        return {word(Outcome.Name(one.outcome), "OUTCOME"): one.count for one in counted.counts}

    async def _drain(self, through: str, told: Callable[[int], None]) -> None:
        running = self.clients.running
        await drain(running, through, told)


def event_id(source: str, message_id: str) -> bytes:
    """The name that ingest gives an event for ever."""
    return hashlib.blake2b(f"{source}\0{message_id}".encode(), digest_size=16).digest()


def _parts(calls: Collection[SourcedCall], size: int) -> Iterator[list[SourcedCall]]:
    rest = iter(calls)
    while part := list(itertools.islice(rest, size)):
        yield part
