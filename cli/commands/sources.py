"""`tessera sources` and `tessera rejected`: the front door."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from cli.clients import connect
from cli.formats import as_dict, moment, word
from cli.pages import pages
from cli.sources import ensure_source, write_key
from cli.terminal import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    YesOption,
    ask_before_deleting,
    facts,
    out,
    print_json,
    run,
    table,
)
from libs.errors import Invalid
from tessera.ingest.v1 import rejection_service_pb2, source_pb2
from tessera.ingest.v1 import source_service_pb2 as pb
from tessera.ingest.v1.event_pb2 import Event, EventType, SourceKind

app = typer.Typer(help="Where events come from, and with which key.", no_args_is_help=True)

KINDS = {"browser": SourceKind.SOURCE_KIND_BROWSER, "server": SourceKind.SOURCE_KIND_SERVER}
_SHOWN = 400
_JSON_BEGINS = (b"{", b"[")
_BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}
SourceArgument = Annotated[str, typer.Argument(help="The source's id.", metavar="SOURCE")]
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
        async with connect(home) as clients:
            listed = pages((await clients.sources()).ListSources, pb.ListSourcesRequest())
            return [source async for page in listed for source in page.sources]

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


@app.command("show")
def show(source_id: SourceArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show a source with its keys and what it takes for granted."""

    async def call() -> source_pb2.Source:
        async with connect(home) as clients:
            return (
                await (await clients.sources()).GetSource(pb.GetSourceRequest(source_id=source_id))
            ).source

    _print_source(run(call()), as_json)


@app.command("update")
def update(
    source_id: SourceArgument,
    name: Annotated[str | None, typer.Option(help="What people call it.", show_default=False)] = None,
    consent: Annotated[
        list[str] | None,
        typer.Option(
            help="What an event that says nothing allows, as purpose=yes or purpose=no; all of it anew, "
            "repeatable. `--consent none`: what is usual.",
            show_default=False,
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Change a source's name, or the consent of its events that say nothing. Its kind never changes.

    [bold]Example[/bold]

      tessera sources update website --name "Web shop" --consent analytics=no
    """
    if name is None and consent is None:
        raise Invalid("--name", "or --consent says what to change")
    wanted = source_pb2.Source(source_id=source_id, display_name=name or "")
    wanted.default_consent.update(_consent(consent or []))
    paths = ["display_name"] * (name is not None) + ["default_consent"] * (consent is not None)

    async def call() -> source_pb2.Source:
        async with connect(home) as clients:
            request = pb.UpdateSourceRequest(source=wanted, update_mask=FieldMask(paths=paths))
            return (await (await clients.sources()).UpdateSource(request)).source

    _print_source(run(call()), as_json)


@app.command("versions")
def versions(source_id: SourceArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the settings that a source has had, newest first."""

    async def call() -> list[source_pb2.SourceVersion]:
        async with connect(home) as clients:
            request = pb.ListSourceVersionsRequest(source_id=source_id)
            listed = pages((await clients.sources()).ListSourceVersions, request)
            return [version async for page in listed for version in page.versions]

    found = run(call())
    if as_json:
        print_json([as_dict(version) for version in found])
        return
    shown = table("version", "made", "name", "consent", right=frozenset({"version"}))
    for one in found:
        shown.add_row(
            str(one.version), moment(one.create_time), Text(one.display_name), _words(one.default_consent)
        )
    out.print(shown)


@app.command("add-key")
def add_key(source_id: SourceArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Give a source a second key; both hold until the old one is removed.

    So a key is changed while events go on coming: add one, tell it to the clients, remove the old one.

    [bold]Example[/bold]

      tessera sources add-key website
    """

    async def call() -> source_pb2.Source:
        async with connect(home) as clients:
            request = pb.AddSourceKeyRequest(source_id=source_id, request_id=uuid.uuid4().hex)
            return (await (await clients.sources()).AddSourceKey(request)).source

    _print_source(run(call()), as_json)


@app.command("remove-key")
def remove_key(
    source_id: SourceArgument,
    key_id: Annotated[str, typer.Argument(help="The key's id, not the key: tessera sources show.")],
    yes: YesOption = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Remove one of a source's two keys: who still sends with it is refused."""
    ask_before_deleting(f"key {key_id} of source {source_id}", yes)

    async def call() -> source_pb2.Source:
        async with connect(home) as clients:
            request = pb.RemoveSourceKeyRequest(source_id=source_id, key_id=key_id)
            return (await (await clients.sources()).RemoveSourceKey(request)).source

    _print_source(run(call()), as_json)


@app.command("delete")
def delete(source_id: SourceArgument, yes: YesOption = False, home: HomeOption = DEFAULT_HOME) -> None:
    """Delete a source: who still sends with its keys is refused. Its events stay."""
    ask_before_deleting(f"source {source_id}", yes)

    async def call() -> None:
        async with connect(home) as clients:
            await (await clients.sources()).DeleteSource(pb.DeleteSourceRequest(source_id=source_id))

    run(call())
    out.print(f"source {source_id} is deleted")


def _print_source(source: source_pb2.Source, as_json: bool) -> None:
    if as_json:
        print_json(_as_dict(source))
        return
    out.print(
        facts(
            ("source", source.source_id),
            ("name", source.display_name),
            ("kind", _NAMES[source.kind]),
            ("without consent", _words(source.default_consent)),
            *(
                ("key " + key.key_id, f"{key.write_key}  since {moment(key.create_time)}")
                for key in source.keys
            ),
            ("version", f"{source.version} of {moment(source.update_time)}"),
        )
    )


def _consent(texts: list[str]) -> dict[str, bool]:
    """From `purpose=yes`; nothing from `none`."""
    found = {}
    for text in texts if texts != ["none"] else []:
        purpose, _, word_ = text.partition("=")
        if not purpose or word_ not in _BOOLEANS:
            raise Invalid("--consent", f"is purpose=yes or purpose=no, such as analytics=no, not {text!r}")
        found[purpose] = _BOOLEANS[word_]
    return found


def _words(consent: Mapping[str, bool]) -> str:
    return ", ".join(
        f"{purpose} {'yes' if granted else 'no'}" for purpose, granted in sorted(consent.items())
    )


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
