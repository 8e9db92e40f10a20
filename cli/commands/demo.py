"""`tessera demo`: the main job from end to end, on data of a shop."""

import asyncio
import os
import shutil
import time
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import grpc
import typer

from cli import lock
from cli.clients import connect
from cli.demo.report import Report, show
from cli.demo.steps import Steps
from cli.home import DEFAULT, Home
from cli.leftovers import stop_leftover
from cli.log_lines import MergedLog, open_log
from cli.ports import Ports
from cli.replay import History, open_history
from cli.terminal import leaves, out, pairs, print_json, run, short, stopped_by_signals
from libs.errors import FailedPrecondition, Invalid, TesseraError, Unavailable
from libs.rpc import error_from

_READY_SECONDS = 240.0
_MARK = "demo"


def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with the Online Retail data, in place of the made-up shop."),
    ] = None,
    keep_times: Annotated[
        bool,
        typer.Option("--keep-times", help="Leave the data in its own year: then it is old news."),
    ] = False,
    scale: Annotated[float, typer.Option(help="The made-up shop's size: 1 has about 60,000 events.")] = 1.0,
    live_seconds: Annotated[float, typer.Option(min=1, max=600, help="How long events go on live.")] = 10.0,
    home: Annotated[
        Path, typer.Option(help="The demo's own folder; what an earlier demo left there is removed.")
    ] = DEFAULT / "demo",
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Leave it running at the end, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Show the main job: a shop's history in, personalized messages out.

    Starts everything in a folder of its own, replays the history of a shop through the tracking API,
    trains recommendations, goes on live for some seconds, delivers the messages into a folder, and
    reports. Ends with code 0 where messages came out and nothing failed.

    [bold]Examples[/bold]

      tessera demo

      tessera demo --scale 0.1 --json

      tessera demo --data ../shared/datasets --keep-running
    """
    started = time.monotonic()
    history = open_history(data, datetime.now(UTC), keep_times, scale=scale)
    place = _fresh(Home.at(home))
    report = Report(history.name, str(place.folder), shift_weeks=history.shift_weeks)
    if not as_json:
        out.print(f"[bold]Tessera demo[/bold]: {history.name}, in {short(place.folder)}\n")

    async def work() -> None:
        async with AsyncExitStack() as opened:
            with open_log(place.log, None, "nothing") as log:
                await _play(opened, place, history, log, report, live_seconds, Steps(out, as_json))
                report.seconds = round(time.monotonic() - started, 1)
                _tell(report, log, place, keep_running, as_json)
                if keep_running:
                    await asyncio.Event().wait()
                # Inside, since what the services say while they stop belongs into the log, too.
                await opened.aclose()

    with suppress(KeyboardInterrupt):
        run(stopped_by_signals(work()))
    if not report.succeeded or not report.seconds:
        raise typer.Exit(1)


def _fresh(home: Home) -> Home:
    """The home, made anew; only what a demo made is ever removed."""
    if holder := lock.holder_of(home.lock):
        raise FailedPrecondition(
            f"a demo runs here already (process {holder}, home {home.folder}): stop it first"
        )
    if home.folder.exists() and any(home.folder.iterdir()):
        if not (home.folder / _MARK).exists():
            raise Invalid("--home", f"{home.folder} is not a demo's: it is not removed; name an empty folder")
        stop_leftover(home.postgres)
        shutil.rmtree(home.folder)
    home.create()
    (home.folder / _MARK).touch()
    return home


async def _play(
    opened: AsyncExitStack,
    home: Home,
    history: History,
    log: MergedLog,
    report: Report,
    live_seconds: float,
    steps: Steps,
) -> None:
    # What these import takes a second, which other commands need not wait for.
    from cli.demo.scenario import Scenario
    from cli.stack import Stack

    report.steps = steps.seconds
    with steps.step("start", "PostgreSQL and the services starting") as step:
        ports = Ports.free()
        home.links_port.write_text(str(ports.http))
        stack = Stack(home, ports, log, given=os.environ, traced=True)
        await opened.enter_async_context(stack)
        if late := await stack.wait_until_ready(_READY_SECONDS):
            words = "\n".join(line.plain for name in late for line in log.last_words(name))
            raise Unavailable(f"not ready after {_READY_SECONDS:g} s: {', '.join(late)}\n{words}")
        step.title = "PostgreSQL and five services ready"
    clients = await opened.enter_async_context(connect(home.folder, deadline_seconds=60))
    try:
        await Scenario(home, clients, history, log, steps, report, live_seconds).run()
    except* grpc.aio.AioRpcError as group:
        report.problems += [error_from(error).message for error in leaves(group)]
    except* TesseraError as group:
        report.problems += [error.message for error in leaves(group)]
    for name, service in stack.running.services.items():
        if service.restarts:
            report.problems.append(f"{name} was started again {service.restarts} times: see the log")


def _tell(report: Report, log: MergedLog, home: Home, keep_running: bool, as_json: bool) -> None:
    if as_json:
        print_json(report.as_json())
        return
    show(report, out)
    if not report.succeeded:
        for complaint in log.complaints():
            out.print(complaint, soft_wrap=True)
        out.print()
    flag = f" --home {short(home.folder)}"
    places = pairs()
    places.add_row("[bold]messages[/bold]", short(home.outbox / "index.html"))
    places.add_row("[bold]log[/bold]", short(home.log))
    if keep_running:
        places.add_row("[bold]try[/bold]", f"tessera messages tail -f{flag}")
        places.add_row("", f"tessera status{flag}")
        places.add_row("", "[dim]the mails' unsubscribe links lead to its page, until Ctrl-C[/dim]")
    else:
        places.add_row("[bold]again[/bold]", f"tessera up{flag} [dim]starts it with all its data[/dim]")
        places.add_row("", "[dim]then the mails' unsubscribe links lead to its page, too[/dim]")
    out.print(places)
    verdict = "[bold green]Done[/bold green]" if report.succeeded else "[bold red]Failed[/bold red]"
    out.print(f"\n{verdict} in {report.seconds:.1f} s." + (" Ctrl-C stops it." if keep_running else ""))
