"""`tessera import`: old events from files."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from cli.clients import connect
from cli.imports.batches import File
from cli.imports.columns import Asked
from cli.imports.csv_rows import DELIMITERS
from cli.imports.events import Line, Table, json_lines, open_table
from cli.imports.files import is_table
from cli.imports.sending import send
from cli.imports.shared_addresses import SharedAddresses
from cli.imports.summary import Refused, Summary
from cli.sources import ensure_source
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, err, out, print_json, run, table
from libs.errors import Invalid
from tessera.ingest.v1.event_pb2 import SourceKind

_LISTED = 20


def import_file(
    path: Annotated[
        Path, typer.Argument(help="JSON lines, or CSV (.csv, .tsv); also .gz or .zst.", metavar="FILE")
    ],
    source: Annotated[str, typer.Option(help="The source that the events count as.")] = "import",
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", help="CSV: which column holds what, as target=column.", show_default=False),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="CSV: what all rows share, as target=value.", show_default=False),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            help="CSV: what is not a text, as target=number or target=boolean.",
            show_default=False,
        ),
    ] = None,
    ignored: Annotated[
        list[str] | None,
        typer.Option("--ignore", help="CSV: a column to leave out without asking.", show_default=False),
    ] = None,
    yes: Annotated[
        list[str] | None,
        typer.Option("--yes", help="CSV: a word for yes, beside true, yes and 1.", show_default=False),
    ] = None,
    no: Annotated[
        list[str] | None,
        typer.Option("--no", help="CSV: a word for no, beside false, no and 0.", show_default=False),
    ] = None,
    encoding: Annotated[
        str,
        typer.Option(
            help="What the file's text is encoded in, such as cp1252. Unless said: UTF-8. What a mark at "
            "its beginning tells goes before.",
            show_default=False,
        ),
    ] = "",
    delimiter: Annotated[
        str,
        typer.Option(
            help="CSV: comma, semicolon, tab or pipe. Unless said: what the first line has most of.",
            show_default=False,
        ),
    ] = "",
    multiline: Annotated[
        bool, typer.Option("--multiline", help="CSV: quoted values may hold lines that look like rows.")
    ] = False,
    shared_addresses: Annotated[
        bool,
        typer.Option(
            "--shared-addresses", help="Import rows that give one address to several people: all lose it."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check the whole file, and send nothing.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Import old events from a file.

    Old events enter people into segments, but mail nobody about the past. Each row is imported, or told
    with its line and the reason. An import can be repeated, whole or after an interruption: events that
    are there already count once.

    JSON lines are calls of Segment's API, one a line.

    CSV names its columns in the first line. Targets of columns are userId, anonymousId, email, phone,
    type, event, timestamp, messageId, traits.…, properties.…, context.…, and for what a person allows
    consent.<purpose> and refusal.<purpose>; columns with such a name need no --map. A row with an event
    is a track call, one without identifies a person. Values stay texts, so 1.10 stays 1.10: --type makes
    a column numbers, which sums need, or booleans.

    [bold]Examples[/bold]

      tessera import history.jsonl.gz --source backend

      tessera import people.csv --map userId=id --map traits.plan=Plan

      tessera import orders.csv --set event="Order Completed" --dry-run

    docs/importing.md has more of them, and what becomes of which file.
    """
    summary = Summary(str(path), source)
    asked = Asked(maps or (), sets or (), types or (), ignored or (), yes or (), no or ())
    opened = open_table(path, asked, encoding, _delimiter(delimiter), multiline) if is_table(path) else None
    if opened is not None and opened.mapped.unused:
        summary.columns_left_out = list(opened.mapped.unused)
        err.print(
            f"[dim]columns that are not imported: {', '.join(opened.mapped.unused)}[/dim]", soft_wrap=True
        )

    def read(unpacked: IO[bytes]) -> Iterator[Line]:
        return opened.lines(unpacked, path.name) if opened else json_lines(unpacked, path.name, encoding)

    started = time.monotonic()
    file = File(path, read, summary)
    with _progress(as_json) as progress:
        _look_through(file, progress)
        _tell_numbers(opened)
        if shared_addresses:
            file.shared = SharedAddresses()
        elif file.shared.count and not as_json:
            err.print(
                f"[yellow]addresses that belong to several user ids in this file: {file.shared.count:,}; "
                "the rows with them are not imported[/yellow]"
            )
        if dry_run:
            _check(file, progress)
        else:
            _import(file, home, progress)
    summary.seconds = round(time.monotonic() - started, 2)
    summary.rejections.sort()
    summary.warnings.sort()
    _report(summary, as_json, dry_run)
    if summary.rejected and not summary.accepted:
        raise typer.Exit(1)


def _delimiter(name: str) -> str:
    if name and name not in DELIMITERS and name not in DELIMITERS.values():
        raise Invalid("--delimiter", f"is {', '.join(DELIMITERS)}, not {name!r}")
    return DELIMITERS.get(name, name)


def _look_through(file: File, progress: Progress) -> None:
    task = progress.add_task(f"reading {file.path.name}", total=file.path.stat().st_size)
    file.look_through(lambda read: progress.update(task, completed=read))
    progress.remove_task(task)


def _tell_numbers(opened: Table | None) -> None:
    numbers = [target for target, always in opened.numbers.items() if always] if opened else []
    if numbers:
        hint = f"sums need numbers: --type {numbers[0]}=number"
        err.print(f"[dim]numbers that stay texts: {', '.join(numbers)}; {hint}[/dim]", soft_wrap=True)


def _check(file: File, progress: Progress) -> None:
    task = progress.add_task(f"checking {file.path.name}", total=file.path.stat().st_size)
    file.check(lambda read: progress.update(task, completed=read))


def _import(file: File, home: Path, progress: Progress) -> None:
    async def work() -> None:
        async with connect(home, deadline_seconds=60) as clients:
            # One that exists with settings of its own is meant.
            await ensure_source(clients, file.summary.source, SourceKind.SOURCE_KIND_SERVER, any_kind=True)
            task = progress.add_task(f"sending {file.path.name}", total=file.path.stat().st_size)
            await send(file, clients, lambda read: progress.update(task, completed=read))

    run(work())


def _progress(as_json: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=as_json or not err.is_terminal,
    )


def _report(summary: Summary, as_json: bool, dry_run: bool) -> None:
    if as_json:
        lists = {
            name: [one._asdict() for one in getattr(summary, name)] for name in ("rejections", "warnings")
        }
        print_json({**asdict(summary), **lists})
        return
    if dry_run:
        out.print(f"{summary.accepted:,} of {summary.lines:,} rows can be imported; nothing was sent")
    else:
        rate = summary.accepted / summary.seconds if summary.seconds else 0
        out.print(
            f"{summary.accepted:,} of {summary.lines:,} rows imported as source {summary.source} "
            f"in {summary.seconds:.1f} s ({rate:,.0f}/s)"
        )
    _list(f"{summary.rejected:,} rejected", summary.rejections, summary.rejected)
    _list(f"{summary.warned:,} imported, but not whole", summary.warnings, summary.warned)


def _list(title: str, rows: Sequence[Refused], count: int) -> None:
    if not rows:
        return
    out.print(f"\n[yellow]{title}:[/yellow]")
    shown = table("line", "reason", right=frozenset({"line"}))
    for row in rows[:_LISTED]:
        shown.add_row(str(row.line), Text(row.reason))
    out.print(shown)
    if count > _LISTED:
        out.print(f"[dim]… and {count - _LISTED:,} more: --json lists a thousand[/dim]")
