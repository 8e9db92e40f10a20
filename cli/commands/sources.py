"""`tessera sources` and `tessera rejected`: the front door."""

from typing import Annotated

import typer

from cli.clients import connect
from cli.formats import as_dict, moment
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, out, print_json, run, table
from libs.errors import Invalid
from tessera.ingest.v1 import ingest_service_pb2 as pb
from tessera.ingest.v1.event_pb2 import SourceKind

app = typer.Typer(help="Where events come from, and with which key.", no_args_is_help=True)

KINDS = {"browser": SourceKind.SOURCE_KIND_BROWSER, "server": SourceKind.SOURCE_KIND_SERVER}
_NAMES = {number: name for name, number in KINDS.items()}


@app.command("create")
def create(
    source_id: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    kind: Annotated[
        str, typer.Option(help="`browser`: its key is public. `server`: what it says is believed.")
    ] = "server",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Create a source, or show the key of the one that is there.

    [bold]Examples[/bold]

      tessera sources create website --kind browser

      tessera sources create backend
    """
    if kind not in KINDS:
        raise Invalid("--kind", f"is `browser` or `server`, not `{kind}`")

    async def call() -> tuple[pb.Source, str]:
        async with connect(home) as clients:
            ingest = await clients.ingest()
            source = pb.Source(source_id=source_id, kind=KINDS[kind])
            return (
                await ingest.CreateSource(pb.CreateSourceRequest(source=source))
            ).source, clients.running.http

    source, http = run(call())
    if as_json:
        print_json(as_dict(source))
        return
    out.print(f"source [bold]{source.source_id}[/bold] ({kind})")
    out.print(f"write key {source.write_key}\n")
    if not http:
        return
    out.print("Try it:")
    call_ = f"""  curl -u {source.write_key}: {http}/v1/track -H 'content-type: application/json' \\
    -d '{{"userId":"ada","event":"Product Viewed","properties":{{"product_id":"COF-01"}}}}'"""
    out.print(call_, markup=False, soft_wrap=True)


@app.command("list")
def list_(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List all sources with their keys."""

    async def call() -> pb.ListSourcesResponse:
        async with connect(home) as clients:
            return await (await clients.ingest()).ListSources(pb.ListSourcesRequest())

    sources = run(call()).sources
    if as_json:
        print_json([as_dict(source) for source in sources])
        return
    if not sources:
        out.print("There are no sources yet: tessera sources create website --kind browser")
        return
    shown = table("source", "kind", "write key")
    for source in sources:
        shown.add_row(source.source_id, _NAMES[source.kind], source.write_key)
    out.print(shown)


def rejected(
    source: Annotated[str, typer.Option(help="Only this source's.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many.")] = 20,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List events that were refused at the door, newest first, each with its reason.

    [bold]Example[/bold]

      tessera rejected --source website -n 5
    """

    async def call() -> pb.ListRejectedEventsResponse:
        request = pb.ListRejectedEventsRequest(source_id=source, page_size=limit)
        async with connect(home) as clients:
            return await (await clients.ingest()).ListRejectedEvents(request)

    events = run(call()).rejected_events
    if as_json:
        print_json([{**as_dict(e), "body": e.body.decode(errors="replace")} for e in events])
        return
    if not events:
        out.print("Nothing was rejected.")
        return
    for event in events:
        out.print(
            f"[dim]{moment(event.received_time)}[/dim]  {event.source_id}  [bold]{event.field}[/bold] ",
            end="",
        )
        out.print(event.reason, style="yellow", markup=False)
        body = event.body.decode(errors="replace")
        out.print(f"  {body[:200]}", style="dim", markup=False, soft_wrap=True)
