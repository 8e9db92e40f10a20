"""`tessera status`: how everything is."""

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import typer

from cli.clients import Clients, connect
from cli.formats import word
from cli.pages import pages
from cli.readiness import READY, state_of
from cli.running import Running
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, out, pairs, print_json, run, table
from libs.errors import FailedPrecondition, Unavailable
from tessera.profile.v1 import profile_service_pb2 as profile_pb
from tessera.recommend.v1 import model_service_pb2 as model_pb
from tessera.render.v1 import message_service_pb2 as message_pb
from tessera.render.v1.message_pb2 import Outcome
from tessera.segment.v1 import segment_service_pb2 as segment_pb
from tessera.segment.v1.segment_pb2 import DefinitionState

# What reads the log imports for a second, which other commands need not wait for.
if TYPE_CHECKING:
    from cli.lag import Lag

Answer = TypeVar("Answer")

_STYLES = {"ready": "green", "not ready": "yellow", "no answer": "bold red"}


@dataclass(slots=True)
class Status:
    """How everything is; what could not be learned is None."""

    version: str
    http: str
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    lag: "list[Lag] | None" = None
    profiles: int | None = None
    segments: dict[str, dict[str, Any]] | None = None
    messages: dict[str, int] | None = None
    model_version: int | None = None

    @property
    def ready(self) -> bool:
        """Whether all services are."""
        return all(service["state"] == READY for service in self.services.values())


def status(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show the services' health, how far they are behind, and how much there is.

    Ends with code 0 where all services are ready, else 1.
    """
    found = run(_collect(home))
    if as_json:
        print_json(
            {**asdict(found), "ready": found.ready, "lag": found.lag and [one._asdict() for one in found.lag]}
        )
    else:
        _print(found)
    if not found.ready:
        raise typer.Exit(1)


async def _collect(home: Path) -> Status:
    async with connect(home, deadline_seconds=2) as clients:
        running = clients.running
        states = await asyncio.gather(
            *(state_of(service.grpc, tls=clients.tls) for service in running.services.values())
        )
        found = Status(running.version, running.http)
        for (name, service), state in zip(running.services.items(), states, strict=True):
            found.services[name] = {
                "state": state,
                "address": service.grpc,
                "process_id": service.process_id,
                "restarts": service.restarts,
            }
        found.lag = await _lags(running) if running.database_url else None
        await asyncio.gather(
            _people(clients, found), _members(clients, found), _sent(clients, found), _model(clients, found)
        )
        return found


async def _lags(running: Running) -> "list[Lag] | None":
    import asyncpg

    from cli.lag import lags

    try:
        return await lags(running)
    except (OSError, asyncpg.PostgresError, TimeoutError, Unavailable):
        return None


async def _people(clients: Clients, found: Status) -> None:
    async def ask() -> int:
        request = profile_pb.ListProfilesRequest(page_size=1, count_all=True)
        return (await (await clients.profile()).ListProfiles(request)).total_size

    found.profiles = await _or_none(ask())


async def _members(clients: Clients, found: Status) -> None:
    async def ask() -> dict[str, dict[str, Any]]:
        segment = await clients.segment()
        known: dict[str, dict[str, Any]] = {}
        async for page in pages(segment.ListSegments, segment_pb.ListSegmentsRequest()):
            for s in page.segments:
                state = word(DefinitionState.Name(s.state), "DEFINITION_STATE")
                known[s.segment_id] = {"people": s.member_count, "state": state}
        return known

    found.segments = await _or_none(ask())


async def _sent(clients: Clients, found: Status) -> None:
    async def ask() -> dict[str, int]:
        answer = await (await clients.messages()).CountMessages(message_pb.CountMessagesRequest())
        return {word(Outcome.Name(one.outcome), "OUTCOME"): one.count for one in answer.counts}

    found.messages = await _or_none(ask())


async def _model(clients: Clients, found: Status) -> None:
    async def ask() -> int:
        request = model_pb.ListModelsRequest(page_size=1)
        models = (await (await clients.models()).ListModels(request)).models
        return models[0].version if models else 0

    found.model_version = await _or_none(ask())


async def _or_none(asked: Awaitable[Answer]) -> Answer | None:
    """A service that does not answer is told above, and hides only what is its own."""
    try:
        return await asked
    except (grpc.aio.AioRpcError, FailedPrecondition):
        return None


def _print(found: Status) -> None:
    at = f", tracking API at {found.http}" if found.http else ""
    out.print(f"Tessera {found.version}{at}\n")
    services = table("service", "", "gRPC", "process", "restarts", right=frozenset({"process", "restarts"}))
    for name, service in found.services.items():
        style = _STYLES[service["state"]]
        services.add_row(
            name,
            f"[{style}]{service['state']}[/{style}]",
            service["address"],
            str(service["process_id"] or ""),
            str(service["restarts"]),
        )
    out.print(services)
    if found.lag:
        out.print()
        behind = table("reader", "of", "records behind", right=frozenset({"records behind"}))
        for group, topic, records in found.lag:
            behind.add_row(group, topic, f"{records:,}")
        out.print(behind)
    out.print()
    counts = pairs(right=True)
    counts.add_row("profiles", _count(found.profiles))
    for segment_id, segment in (found.segments or {}).items():
        note = "" if segment["state"] == "active" else f" [yellow]({segment['state']})[/yellow]"
        counts.add_row(f"[dim]in[/dim] {segment_id}{note}", _count(segment["people"]))
    for outcome, count in (found.messages or {}).items():
        counts.add_row(f"messages {outcome}", _count(count))
    if found.model_version is not None:
        counts.add_row("model version", str(found.model_version or "none: tessera train"))
    out.print(counts)


def _count(number: int | None) -> str:
    return "no answer" if number is None else f"{number:,}"
