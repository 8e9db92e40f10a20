"""`tessera import`: old events from files."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Annotated, NamedTuple

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from cli.clients import Clients, connect
from cli.imports.columns import Asked
from cli.imports.csv_rows import DELIMITERS
from cli.imports.events import Line, Table, json_lines, open_table
from cli.imports.files import is_table, open_file
from cli.imports.shared_addresses import SharedAddresses
from cli.sources import ensure_source
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, err, out, print_json, run, table
from libs.errors import Invalid, TesseraError
from tessera.ingest.v1 import ingest_service_pb2 as pb
from tessera.ingest.v1.event_pb2 import SourceKind

_BATCH_EVENTS = 1000
# The server takes 4 MB at once.
_BATCH_BYTES = 3_000_000
_LISTED = 20
_KEPT = 1000

# What the contract calls otherwise than files do.
_NAMES = {
    "message_id": "messageId",
    "user_id": "userId",
    "anonymous_id": "anonymousId",
    "previous_id": "previousId",
    "group_id": "groupId",
    "name": "event",
    "properties_json": "properties",
    "traits_json": "traits",
    "context_json": "context",
}

Read = Callable[[IO[bytes]], Iterator[Line]]


class Refused(NamedTuple):
    """A row that was not imported, or not whole."""

    line: int
    reason: str


@dataclass(slots=True)
class Summary:
    """What became of a file: each of its `lines` that holds anything is `accepted` or `rejected`."""

    file: str
    source: str
    lines: int = 0
    accepted: int = 0
    rejected: int = 0
    seconds: float = 0.0
    columns_left_out: list[str] = field(default_factory=list)
    rejections: list[Refused] = field(default_factory=list)
    """The first thousand."""
    warned: int = 0
    """How many accepted rows had something left out, such as an address that is none."""
    warnings: list[Refused] = field(default_factory=list)
    """The first thousand."""

    def refuse(self, line: int, reason: str) -> None:
        """Count a row, and keep it while there are few."""
        self.rejected += 1
        if len(self.rejections) < _KEPT:
            self.rejections.append(Refused(line, reason))

    def warn(self, line: int, reason: str) -> None:
        """Count what was left out of a row, and keep it while there is little."""
        self.warned += 1
        if len(self.warnings) < _KEPT:
            self.warnings.append(Refused(line, reason))


def import_file(
    file: Annotated[
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
            help="What the file's text is encoded in, such as cp1252. Unless said: UTF-8, or what a mark at "
            "its beginning tells.",
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
    summary = Summary(str(file), source)
    asked = Asked(maps or (), sets or (), types or (), ignored or (), yes or (), no or ())
    opened = open_table(file, asked, encoding, _delimiter(delimiter), multiline) if is_table(file) else None
    if opened is not None and opened.mapped.unused:
        summary.columns_left_out = list(opened.mapped.unused)
        err.print(
            f"[dim]columns that are not imported: {', '.join(opened.mapped.unused)}[/dim]", soft_wrap=True
        )

    def read(unpacked: IO[bytes]) -> Iterator[Line]:
        return opened.lines(unpacked, file.name) if opened else json_lines(unpacked, file.name, encoding)

    started = time.monotonic()
    with _progress(as_json) as progress:
        shared = _look_through(file, read, progress)
        _tell_numbers(opened)
        if shared_addresses:
            shared = SharedAddresses()
        elif shared.count and not as_json:
            err.print(
                f"[yellow]addresses that belong to several user ids in this file: {shared.count:,}; "
                "the rows with them are not imported[/yellow]"
            )
        lines = _Lines(read, shared, summary)
        if dry_run:
            _check(file, lines, summary, progress)
        else:
            _import(file, lines, summary, home, progress)
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


def _look_through(file: Path, read: Read, progress: Progress) -> SharedAddresses:
    """Read all of the file before anything of it is sent."""
    shared = SharedAddresses()
    task = progress.add_task(f"reading {file.name}", total=file.stat().st_size)
    with open_file(file) as (raw, unpacked):
        for number, line in enumerate(read(unpacked)):
            shared.note(line)
            if number % _BATCH_EVENTS == 0:
                progress.update(task, completed=raw.tell())
    progress.remove_task(task)
    return shared


def _tell_numbers(opened: Table | None) -> None:
    numbers = [target for target, always in opened.numbers.items() if always] if opened else []
    if numbers:
        hint = f"sums need numbers: --type {numbers[0]}=number"
        err.print(f"[dim]numbers that stay texts: {', '.join(numbers)}; {hint}[/dim]", soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Lines:
    """The events of a file; what is none is counted and told."""

    read: Read
    shared: SharedAddresses
    summary: Summary

    def of(self, unpacked: IO[bytes]) -> Iterator[Line]:
        """Those to send."""
        for line in self.read(unpacked):
            self.summary.lines += 1
            problem = line.problem or self.shared.problem(line)
            if problem:
                self.summary.refuse(line.number, problem)
            else:
                yield line


def _check(file: Path, lines: _Lines, summary: Summary, progress: Progress) -> None:
    task = progress.add_task(f"checking {file.name}", total=file.stat().st_size)
    with open_file(file) as (raw, unpacked):
        for batch in _batches(lines.of(unpacked)):
            summary.accepted += len(batch)
            progress.update(task, completed=raw.tell())


def _import(file: Path, lines: _Lines, summary: Summary, home: Path, progress: Progress) -> None:
    size = file.stat().st_size

    async def work() -> None:
        async with connect(home, deadline_seconds=60) as clients:
            # One that exists with settings of its own is meant.
            await ensure_source(clients, summary.source, SourceKind.SOURCE_KIND_SERVER, any_kind=True)
            task = progress.add_task(f"sending {file.name}", total=size)
            with open_file(file) as (raw, unpacked):
                for batch in _batches(lines.of(unpacked)):
                    await _send(clients, batch, summary)
                    progress.update(task, completed=raw.tell())

    try:
        run(work())
    except TesseraError as error:
        if not summary.accepted:
            raise
        raise TesseraError(
            f"{error.message}\n{summary.accepted:,} events are stored; run the same command again to go on: "
            "what is there already counts once"
        ) from None


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in lines:
        assert line.event is not None
        more = line.event.ByteSize()
        if batch and (len(batch) == _BATCH_EVENTS or size + more > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += more
    if batch:
        yield batch


async def _send(clients: Clients, batch: list[Line], summary: Summary) -> None:
    events = [line.event for line in batch if line.event]
    request = pb.ImportEventsRequest(source_id=summary.source, events=events)
    answer = await (await clients.ingest()).ImportEvents(request)
    summary.accepted += answer.accepted
    for rejection in answer.rejections:
        summary.refuse(batch[rejection.index].number, f"{_named(rejection.field)}: {rejection.reason}")
    for warning in answer.warnings:
        summary.warn(batch[warning.index].number, f"{_named(warning.field)}: {warning.reason}")


def _named(field: str) -> str:
    """A field as files call it: `traits_json.email` is `traits.email`."""
    outer, dot, inner = field.partition(".")
    return _NAMES.get(outer, outer) + dot + inner


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
