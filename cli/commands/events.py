"""`tessera import`: old events from files."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, NamedTuple

import grpc
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from cli.clients import Clients, connect
from cli.import_files import Line, csv_lines, header_of, is_csv, json_lines, mapping, open_file
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, err, out, print_json, run, table
from libs.errors import Conflict, TesseraError
from libs.rpc import error_from
from tessera.ingest.v1 import ingest_service_pb2 as pb
from tessera.ingest.v1.event_pb2 import SourceKind

_BATCH_EVENTS = 1000
_BATCH_BYTES = 4_000_000
_LISTED = 20


class Refused(NamedTuple):
    """A line that was not imported."""

    line: int
    reason: str


@dataclass(slots=True)
class Summary:
    """What became of a file."""

    file: str
    source: str
    lines: int = 0
    accepted: int = 0
    rejected: int = 0
    seconds: float = 0.0
    rejections: list[Refused] = field(default_factory=list)
    """The first thousand."""

    def refuse(self, line: int, reason: str) -> None:
        """Count a line, and keep it while there are few."""
        self.rejected += 1
        if len(self.rejections) < 1000:
            self.rejections.append(Refused(line, reason))


def import_file(
    file: Annotated[Path, typer.Argument(help="JSON lines or CSV, also .gz or .zst.", metavar="FILE")],
    source: Annotated[str, typer.Option(help="The source that the events count as.")] = "import",
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", help="CSV: which column holds what, as target=column.", show_default=False),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="CSV: what all lines share, as target=value.", show_default=False),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Import old events from a file.

    Old events enter people into segments, but mail nobody about the past. An import can be repeated,
    whole or after an interruption: events that are there already count once. JSON lines are calls
    of Segment's API. Targets of CSV columns are userId, anonymousId, email, phone, type, event,
    timestamp, messageId, traits.…, properties.…, context.…; columns with such a name need no --map.

    [bold]Examples[/bold]

      tessera import history.jsonl.gz --source backend

      tessera import orders.csv --set event="Order Completed" --map userId=Customer

      tessera import people.csv --map userId=id --map traits.first_name=Name
    """
    lines = _reader(file, maps or [], sets or [])
    summary = Summary(str(file), source)

    async def work() -> None:
        async with connect(home, deadline_seconds=60) as clients:
            await _ensure_source(clients, source)
            with open_file(file) as (raw, unpacked), _progress(as_json) as progress:
                task = progress.add_task(file.name, total=file.stat().st_size)
                for batch in _batches(lines(unpacked, summary)):
                    await _send(clients, source, batch, summary)
                    progress.update(task, completed=raw.tell())

    started = time.monotonic()
    try:
        run(work())
    except TesseraError as error:
        if not summary.accepted:
            raise
        raise TesseraError(
            f"{error.message}\n{summary.accepted:,} events are stored; run the same command again to go on: "
            "what is there already counts once"
        ) from None
    summary.seconds = round(time.monotonic() - started, 2)
    summary.rejections.sort()
    _report(summary, as_json)
    if summary.rejected and not summary.accepted:
        raise typer.Exit(1)


_Reader = Callable[[IO[bytes], Summary], Iterator[Line]]


def _reader(file: Path, maps: list[str], sets: list[str]) -> _Reader:
    if not is_csv(file):
        return lambda unpacked, summary: _read(json_lines(unpacked, file.name), summary)
    columns = header_of(file)
    mapped = mapping(columns, maps, sets)
    if ignored := [column for column in columns if column not in mapped.columns.values()]:
        err.print(f"[dim]columns that are not imported: {', '.join(ignored)}[/dim]")
    return lambda unpacked, summary: _read(csv_lines(unpacked, file.name, mapped), summary)


def _read(lines: Iterable[Line], summary: Summary) -> Iterator[Line]:
    for line in lines:
        summary.lines += 1
        if line.event is None:
            summary.refuse(line.number, line.problem)
        else:
            yield line


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    while batch := list(islice(lines, _BATCH_EVENTS)):
        yield batch


async def _ensure_source(clients: Clients, source: str) -> None:
    ingest = await clients.ingest()
    wanted = pb.Source(source_id=source, kind=SourceKind.SOURCE_KIND_SERVER)
    try:
        await ingest.CreateSource(pb.CreateSourceRequest(source=wanted))
    except grpc.aio.AioRpcError as error:
        # It exists with settings of its own: then it is meant.
        if not isinstance(error_from(error), Conflict):
            raise


async def _send(clients: Clients, source: str, batch: list[Line], summary: Summary) -> None:
    request = pb.ImportEventsRequest(source_id=source, events=[line.event for line in batch if line.event])
    answer = await (await clients.ingest()).ImportEvents(request)
    summary.accepted += answer.accepted
    for rejection in answer.rejections:
        summary.refuse(batch[rejection.index].number, f"{rejection.field}: {rejection.reason}")


def _progress(as_json: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=as_json or not err.is_terminal,
    )


def _report(summary: Summary, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(summary), "rejections": [one._asdict() for one in summary.rejections]})
        return
    rate = summary.accepted / summary.seconds if summary.seconds else 0
    out.print(
        f"{summary.accepted:,} of {summary.lines:,} events imported as source {summary.source} "
        f"in {summary.seconds:.1f} s ({rate:,.0f}/s)"
    )
    if not summary.rejections:
        return
    out.print(f"\n[yellow]{summary.rejected:,} were rejected:[/yellow]")
    shown = table("line", "reason", right=frozenset({"line"}))
    for refused in summary.rejections[:_LISTED]:
        shown.add_row(str(refused.line), refused.reason)
    out.print(shown)
    if summary.rejected > _LISTED:
        out.print(f"[dim]… and {summary.rejected - _LISTED:,} more: --json lists a thousand[/dim]")
