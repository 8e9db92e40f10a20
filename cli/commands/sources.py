"""`tessera sources` and `tessera rejected`: the front door."""

from typing import Annotated, Any

import orjson
import typer
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from cli.clients import connect
from cli.formats import as_dict, moment, word
from cli.sources import ensure_source, write_key
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, out, print_json, run, table
from libs.errors import Invalid
from tessera.ingest.v1 import rejection_service_pb2, source_pb2, source_service_pb2
from tessera.ingest.v1.event_pb2 import Event, EventType, SourceKind

app = typer.Typer(help="Where events come from, and with which key.", no_args_is_help=True)

KINDS = {"browser": SourceKind.SOURCE_KIND_BROWSER, "server": SourceKind.SOURCE_KIND_SERVER}
_SHOWN = 400
_JSON_BEGINS = (b"{", b"[")
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

    async def call() -> tuple[source_pb2.Source, str]:
        async with connect(home) as clients:
            return await ensure_source(clients, source_id, KINDS[kind]), clients.running.http

    source, http = run(call())
    if as_json:
        print_json(_as_dict(source))
        return
    out.print(f"source [bold]{source.source_id}[/bold] ({kind})")
    out.print(f"write key {write_key(source)}\n")
    if not http:
        return
    out.print("Try it:")
    call_ = f"""  curl -u {write_key(source)}: {http}/v1/track -H 'content-type: application/json' \\
    -d '{{"userId":"ada","event":"Product Viewed","properties":{{"product_id":"COF-01"}}}}'"""
    out.print(call_, markup=False, soft_wrap=True)


@app.command("list")
def list_(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List all sources with their keys."""

    async def call() -> list[source_pb2.Source]:
        found: list[source_pb2.Source] = []
        async with connect(home) as clients:
            stub, token = await clients.sources(), ""
            while True:
                request = source_service_pb2.ListSourcesRequest(page_size=500, page_token=token)
                page = await stub.ListSources(request)
                found += page.sources
                if not (token := page.next_page_token):
                    return found

    sources = run(call())
    if as_json:
        print_json([_as_dict(source) for source in sources])
        return
    if not sources:
        out.print("There are no sources yet: tessera sources create website --kind browser")
        return
    shown = table("source", "kind", "write key")
    for source in sources:
        keys = "\n".join(key.write_key for key in source.keys)
        shown.add_row(source.source_id, _NAMES[source.kind], keys)
    out.print(shown)


def _as_dict(source: source_pb2.Source) -> dict[str, Any]:
    return {**as_dict(source), "write_key": write_key(source)}


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

    async def call() -> rejection_service_pb2.ListRejectedEventsResponse:
        request = rejection_service_pb2.ListRejectedEventsRequest(source_id=source, page_size=limit)
        async with connect(home) as clients:
            return await (await clients.rejections()).ListRejectedEvents(request)

    answer = run(call())
    events = answer.rejected_events
    if as_json:
        print_json([{**as_dict(event), "body": body_of(event.body)} for event in events])
        return
    if not events:
        out.print(f"Nothing of source {source} was rejected." if source else "Nothing was rejected.")
        return
    for event in events:
        out.print(
            f"[dim]{moment(event.received_time)}[/dim]  {event.source_id}  [bold]{event.field}[/bold] ",
            end="",
        )
        out.print(event.reason, style="yellow", markup=False)
        out.print(f"  {_body_text(event.body)[:_SHOWN]}", style="dim", markup=False, soft_wrap=True)
    if answer.displaced_count:
        out.print(f"[dim]{answer.displaced_count:,} older ones made room for newer ones[/dim]")


def body_of(body: bytes) -> object:
    """What was sent, as JSON where it is some: a call by HTTP, or an event by gRPC or of an import.

    None where the key may not see it.
    """
    if not body:
        return None
    if body.lstrip()[:1] in _JSON_BEGINS:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            return body.decode(errors="replace")
    try:
        fields = Event.FromString(body).ListFields()
    except DecodeError:
        fields = []
    return dict(map(_opened, fields)) if fields else f"{len(body):,} bytes that are no event"


def _opened(field: tuple[FieldDescriptor, Any]) -> tuple[str, object]:
    """A field of an event by the name that Segment's JSON has for it, opened where it holds JSON."""
    described, value = field
    name = described.camelcase_name.removesuffix("Json")
    if described.name == "type":
        return name, word(EventType.Name(value), "EVENT_TYPE")
    if isinstance(value, Timestamp):
        return name, value.ToJsonString()
    if isinstance(value, bytes):
        try:
            return name, orjson.loads(value)
        except orjson.JSONDecodeError:
            return name, value.decode(errors="replace")
    return name, value if isinstance(value, str) else dict(value)


def _body_text(body: bytes) -> str:
    sent = body_of(body)
    if sent is None:
        return "(what was sent is hidden from this key: it may not read personal data)"
    return sent if isinstance(sent, str) else orjson.dumps(sent).decode()
