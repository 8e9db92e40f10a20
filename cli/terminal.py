"""How commands speak: tables and sentences for people, JSON for scripts, errors without tracebacks."""

import asyncio
import re
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import grpc
import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.home import DEFAULT
from libs.errors import Invalid, Unavailable
from libs.rpc import error_from

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="TESSERA_HOME",
        help="The folder that holds data, secrets and logs.",
        show_default=True,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
DEFAULT_HOME = DEFAULT
HIDDEN = "[dim]Personal data is hidden from this key: it lacks the permission pii.read.[/dim]"

# What gRPC says where nobody listens.
_NOBODY = re.compile(r"failed to connect|connections to all backends", re.IGNORECASE)

Result = TypeVar("Result")
Failure = TypeVar("Failure", bound=BaseException)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's coroutine; a failed call becomes the error that the server raised."""
    try:
        return asyncio.run(work)
    except grpc.aio.AioRpcError as error:
        problem = error_from(error)
        if isinstance(problem, Unavailable) and _NOBODY.search(problem.message):
            raise Unavailable(
                f"a service does not answer ({problem.message}): `tessera status` tells which"
            ) from None
        raise problem from None


def print_json(value: object) -> None:
    """Print a value as JSON: indented for a terminal, one line for a pipe."""
    option = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    sys.stdout.write(
        orjson.dumps(value, option=option | orjson.OPT_NON_STR_KEYS, default=str).decode() + "\n"
    )


def table(*columns: str, right: frozenset[str] = frozenset()) -> Table:
    """An empty table in the style of all our tables."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def pairs(right: bool = False) -> Table:
    """An empty table of two columns without headings; `right` for numbers in the second."""
    made = table("name", "value", right=frozenset({"value"} if right else ()))
    made.show_header = False
    return made


def facts(*known: tuple[str, str]) -> Table:
    """What is known of one thing, by name; without what is empty."""
    shown = pairs()
    for name, value in known:
        if value:
            shown.add_row(f"[bold]{name}[/bold]", Text(value))
    return shown


def line(text: Text) -> None:
    """Print a line that is cut where the terminal ends; a pipe gets all of it."""
    if out.is_terminal:
        out.print(text, no_wrap=True, overflow="ellipsis")
    else:
        out.print(text, soft_wrap=True)


def warn(text: str) -> None:
    """Tell what is probably a mistake, beside what the command prints."""
    err.print(Text.assemble(("warning: ", "bold yellow"), text), soft_wrap=True)


def ask_before_deleting(what: str, yes: bool) -> None:
    """Ask whoever sits at a terminal; a script says `--yes`."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Invalid("--yes", f"is needed to delete the {what} where nobody can be asked")
    typer.confirm(f"Delete the {what}?", abort=True)


def short(path: Path) -> str:
    """A path from here, where it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


async def stopped_by_signals(work: Coroutine[Any, Any, Result]) -> Result:
    """Treat SIGTERM, and the end of the terminal, as Ctrl-C: what was opened is closed."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def leaves(group: BaseExceptionGroup[Failure]) -> list[Failure]:
    """The errors in a group, however deep."""
    found: list[Failure] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
