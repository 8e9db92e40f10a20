"""`tessera dead-letters`: records that could not be handled, why, and once more."""

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.clients import Clients, connect
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, Result, out, print_json, run, table
from libs.errors import Invalid, NotFound

# What reads the log imports for a second, which other commands need not wait for.
if TYPE_CHECKING:
    from libs.messaging import EventLog
    from libs.messaging.dead_letters import DeadLetter

app = typer.Typer(
    help="Records that could not be handled, why, and what to do with them.", no_args_is_help=True
)

_ServiceOption = Annotated[
    str, typer.Option("--service", help="Only those that this service could not handle.")
]
_Ids = Annotated[list[str] | None, typer.Argument(help="The letters' ids, from the list.", metavar="ID...")]
_AllOption = Annotated[bool, typer.Option("--all", help="All that are open, instead of some by their ids.")]


@app.command("list")
def list_(
    service: _ServiceOption = "",
    settled: Annotated[bool, typer.Option("--settled", help="Also those that were dealt with.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List dead letters: where each was read, and why it could not be handled.

    They are kept for 28 days. The log line [bold]dead letter[/bold] of the service, with the same topic,
    partition and offset, has the traceback.

    [bold]Example[/bold]

      tessera dead-letters list --service segment
    """

    async def call(_: Clients, event_log: "EventLog") -> "list[DeadLetter]":
        return await _found(event_log, service)

    letters = [letter for letter in _with_log(home, call) if settled or not letter.settled]
    if as_json:
        print_json([_as_dict(letter) for letter in letters])
        return
    if not letters:
        out.print("There are no dead letters.")
        return
    shown = table(
        "letter", "topic", "partition", "offset", "reason", right=frozenset({"partition", "offset"})
    )
    for letter in letters:
        topic, partition, offset = letter.origin
        shown.add_row(letter.id, topic, str(partition), str(offset), _reason(letter))
    out.print(shown)


@app.command("replay")
def replay_(
    ids: _Ids = None,
    all_: _AllOption = False,
    service: _ServiceOption = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Handle dead letters once more, when what was at fault is mended.

    Events and transitions are appended to their topics again: they are known by their ids, so nothing
    counts twice. A change of a profile is not: whoever lacks it rebuilds the profile from its history.
    What fails again becomes a new letter.

    [bold]Examples[/bold]

      tessera dead-letters replay profile-6-0

      tessera dead-letters replay --all --service segment
    """

    async def call(clients: Clients, event_log: "EventLog") -> dict[str, list[str]]:
        from cli.dead_letters import replay

        letters = await _chosen(event_log, ids or [], all_, service)
        done = await replay(clients, event_log, letters)
        groups = {"appended": done.appended, "rebuilt": done.rebuilt, "left": done.left}
        return {name: [letter.id for letter in group] for name, group in groups.items()}

    done = _with_log(home, call)
    if as_json:
        print_json(done)
        return
    out.print(f"{len(done['appended'])} appended again, {len(done['rebuilt'])} whose profiles are rebuilt")
    for letter in done["left"]:
        out.print(f"[yellow]{letter} names no profile: tessera dead-letters dismiss {letter}[/yellow]")


@app.command("dismiss")
def dismiss(
    ids: _Ids = None,
    all_: _AllOption = False,
    service: _ServiceOption = "",
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Put dead letters aside that nothing can be done with; they stay in their topic until they expire.

    [bold]Example[/bold]

      tessera dead-letters dismiss segment-2-0
    """

    async def call(_: Clients, event_log: "EventLog") -> int:
        from libs.messaging.dead_letters import settle

        letters = await _chosen(event_log, ids or [], all_, service)
        await settle(event_log, letters)
        return len(letters)

    out.print(f"{_with_log(home, call)} dismissed")


def _with_log(home: Path, work: "Callable[[Clients, EventLog], Coroutine[Any, Any, Result]]") -> Result:
    from cli.dead_letters import open_running_log

    async def call() -> Result:
        async with connect(home) as clients, open_running_log(clients.running) as event_log:
            return await work(clients, event_log)

    return run(call())


async def _chosen(event_log: "EventLog", ids: Sequence[str], all_: bool, service: str) -> "list[DeadLetter]":
    """The letters that a command is about: some by their ids, else all that are open."""
    if bool(ids) == all_:
        raise Invalid("ID...", "name letters by their ids, or say --all")
    letters = [letter for letter in await _found(event_log, service) if not letter.settled]
    if unknown := set(ids) - {letter.id for letter in letters}:
        raise NotFound(f"no such letter is open: {', '.join(sorted(unknown))}")
    return [letter for letter in letters if all_ or letter.id in ids]


async def _found(event_log: "EventLog", service: str) -> "list[DeadLetter]":
    from cli.dead_letters import LETTERS, find

    if service and service not in LETTERS:
        raise Invalid("--service", f"is {', '.join(LETTERS)}, not `{service}`")
    return await find(event_log, [service] if service else list(LETTERS))


def _reason(letter: "DeadLetter") -> str:
    return letter.reason.partition("\n")[0]


def _as_dict(letter: "DeadLetter") -> dict[str, object]:
    topic, partition, offset = letter.origin
    return {
        "letter": letter.id,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "reason": letter.reason,
        "type": letter.record.type,
        "key": letter.record.key.decode(errors="replace"),
        "value_hex": letter.record.value.hex(),
        "traceparent": letter.record.headers.get("traceparent", ""),
        "settled": letter.settled,
    }
