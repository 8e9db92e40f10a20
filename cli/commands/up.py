"""`tessera up`: everything on this machine, until it is told to stop."""

import asyncio
import os
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.access import ADMIN, key_name
from cli.home import Home
from cli.log_lines import MergedLog, open_log
from cli.ports import SERVICES, Ports
from cli.running import Running
from cli.secret_files import SecretFiles
from cli.terminal import DEFAULT_HOME, HomeOption, out, run, short, table
from libs.errors import Invalid

# What it imports takes a second, which commands that start nothing need not wait for.
if TYPE_CHECKING:
    from cli.stack import Stack

READY_SECONDS = 60.0


def up(
    home: HomeOption = DEFAULT_HOME,
    port_base: Annotated[
        int | None,
        typer.Option(
            "--port-base",
            min=0,
            max=65_000,
            help="HTTP at this port, gRPC from the next one on, metrics from 11 on. 0: any free ports. "
            "Without it: 8080, 50051 to 50055, 50061 to 50065. Over a demo's home HTTP is where the links in "
            "its mails lead, unless a port is given.",
            show_default=False,
        ),
    ] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Show log lines as they are.")] = False,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Leave a service out, to run it yourself. Repeatable.", show_default=False),
    ] = None,
) -> None:
    """Start PostgreSQL and the five services here, and keep them running.

    Everything lies in one folder, made at the first start. Ctrl-C stops it all; nothing that was
    acknowledged is lost. With DATABASE_URL or EVENT_LOG_URL in the environment, your PostgreSQL or
    your Kafka is used instead.

    [bold]Examples[/bold]

      tessera up

      tessera up --home /tmp/second --port-base 9000

      DATABASE_URL=postgresql://me:secret@db/tessera EVENT_LOG_URL=kafka://kafka:9092 tessera up
    """
    left_out = without or []
    for name in left_out:
        if name not in SERVICES:
            raise Invalid("--without", f"there is no service {name}: {', '.join(SERVICES)}")
    place = Home.at(home)
    place.create()
    ports = Ports.chosen(port_base)
    if not port_base and place.links_port.exists():
        ports = replace(ports, http=int(place.links_port.read_text()))
    console = Console(highlight=False, stderr=json_logs)
    with open_log(place.log, out, "json" if json_logs else "people") as log:
        run(_up(place, ports, log, [name for name in SERVICES if name not in left_out], console))


async def _up(home: Home, ports: Ports, log: MergedLog, services: list[str], console: Console) -> None:
    from cli.stack import Stack

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    started = time.monotonic()
    async with Stack(home, ports, log, given=os.environ, services=services) as stack:
        telling = asyncio.create_task(_tell_when_ready(home, stack, started, log, console))
        asked = asyncio.create_task(stopping.wait())
        # What goes wrong while it is told ends all of it.
        await asyncio.wait({telling, asked}, return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            await telling
        telling.cancel()
        await asked
        log.say("stopping")
        started = time.monotonic()
    log.say("stopped", seconds=round(time.monotonic() - started, 1))


async def _tell_when_ready(
    home: Home, stack: "Stack", started: float, log: MergedLog, console: Console
) -> None:
    """Tell that all is ready, however long it takes; once, what is late and why."""
    late = await stack.wait_until_ready(READY_SECONDS)
    if late:
        log.say(f"not ready after {READY_SECONDS:g} s: {', '.join(late)}; tried again and again", "error")
        for name in late:
            for line in log.last_words(name):
                console.print(line)
    while late:
        late = await stack.wait_until_ready(READY_SECONDS)
    log.say("ready", seconds=round(time.monotonic() - started, 1))
    _tell(home, stack.running, console)


def _tell(home: Home, running: Running, console: Console) -> None:
    addresses = table("", "address")
    if "ingest" in running.services:
        addresses.add_row("tracking API", f"{running.http}/v1/batch")
    for name, service in running.services.items():
        addresses.add_row(f"{name} gRPC", service.grpc)
    addresses.add_row("PostgreSQL", _without_password(running.database_url))
    addresses.add_row("with its password", str(home.running))
    addresses.add_row("event log", running.event_log_url or "in PostgreSQL")
    addresses.add_row("admin key", str(SecretFiles(home.secrets).path(key_name(ADMIN))))
    console.print()
    console.print(addresses)
    flag = "" if home.folder == Home.at(DEFAULT_HOME).folder else f" --home {short(home.folder)}"
    if running.services:
        console.print(
            "\n[bold]Next[/bold], in another terminal:\n"
            f"  tessera sources create website --kind browser{flag}\n"
            f"  tessera apply examples/shop{flag}\n"
            f"  tessera status{flag}"
        )
    console.print("Ctrl-C stops everything.\n")


def _without_password(url: str) -> str:
    user, at, rest = url.rpartition("@")
    return f"{user.rpartition(':')[0]}{at}{rest}" if at else url
