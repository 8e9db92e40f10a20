"""`tessera preview` and `tessera send-test`: what a mail would say, before anybody gets it."""

import uuid
from pathlib import Path
from typing import Annotated

import grpc
import orjson
import typer

from cli import people
from cli.clients import Clients, connect
from cli.definitions import load
from cli.formats import as_dict, warning_text
from cli.pages import pages
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, out, pairs, print_json, run, warn
from libs.errors import Invalid, NotFound
from libs.rpc import error_from
from tessera.profile.v1 import history_service_pb2 as history_pb
from tessera.render.v1 import campaign_service_pb2 as campaign_pb
from tessera.render.v1 import preview_service_pb2 as pb
from tessera.render.v1.template_pb2 import Template

PersonOption = Annotated[
    str,
    typer.Option(
        "--for",
        help="The person: user id, email, phone, anonymous id or profile id.",
        show_default=False,
    ),
]
EventOption = Annotated[
    str,
    typer.Option(
        "--event",
        help="What the template gets as `event`: a JSON object of properties, or the name of an event, of "
        "which it gets the person's last one.",
        show_default=False,
    ),
]


def preview(
    name: Annotated[str, typer.Argument(help="The campaign's id, or the template's.", metavar="NAME")],
    person: PersonOption,
    event: EventOption = "",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Take the template from this folder of definitions, unsaved.", show_default=False
        ),
    ] = None,
    recommendations: Annotated[
        int, typer.Option(min=0, max=20, help="How many recommendations; 0: as many as the campaign gets.")
    ] = 0,
    html: Annotated[bool, typer.Option("--html", help="Print the HTML part and nothing else.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show what a campaign or a template would say to somebody; nothing is sent or kept.

    [bold]Examples[/bold]

      tessera preview cart-abandoned --for ada@example.com --event "Product Added"

      tessera preview hello --for ada --from mine --html > hello.html
    """

    async def call() -> pb.RenderForProfileResponse:
        async with connect(home) as clients:
            who = await people.find(clients, person)
            request = pb.RenderForProfileRequest(
                profile_id=who.profile_id,
                recommendations=recommendations,
                event_properties_json=await _properties(clients, who.profile_id, event),
            )
            if folder is not None:
                request.template.CopyFrom(_template_of(folder, name))
            elif await _is_campaign(clients, name):
                request.campaign_id = name
            else:
                request.template_id = name
            return await (await clients.previews()).RenderForProfile(request)

    made = run(call())
    if as_json:
        print_json(as_dict(made))
        return
    for warning in made.warnings:
        warn(warning_text(warning))
    if html:
        out.print(made.html, markup=False, soft_wrap=True)
        return
    shown = pairs()
    shown.add_row("[bold]subject[/bold]", made.subject)
    if made.preheader:
        shown.add_row("[bold]preheader[/bold]", made.preheader)
    out.print(shown)
    out.print()
    out.print(made.text, markup=False, soft_wrap=True)


def send_test(
    campaign_id: Annotated[str, typer.Argument(help="The campaign's id.", metavar="CAMPAIGN")],
    to: Annotated[str, typer.Option(help="The address that the mail goes to: yours.", show_default=False)],
    person: PersonOption,
    event: EventOption = "",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Take the template from this folder of definitions, unsaved.", show_default=False
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Send a campaign's mail to yourself, rendered for somebody.

    It goes the way of all messages, through a connector. Its subject begins with \\[Test], its
    unsubscribe link unsubscribes nobody, and the campaign may be paused.

    [bold]Example[/bold]

      tessera send-test welcome --to me@example.com --for ada@example.com
    """

    async def call() -> pb.SendTestResponse:
        async with connect(home) as clients:
            who = await people.find(clients, person)
            request = pb.SendTestRequest(
                campaign_id=campaign_id,
                profile_id=who.profile_id,
                to=to,
                event_properties_json=await _properties(clients, who.profile_id, event),
                request_id=uuid.uuid4().hex,
            )
            if folder is not None:
                campaigns = {one.definition_id: one.message for one in load(folder).campaigns}
                named = campaigns[campaign_id].template_id if campaign_id in campaigns else campaign_id
                request.template.CopyFrom(_template_of(folder, named))
            return await (await clients.previews()).SendTest(request)

    sent = run(call())
    if as_json:
        print_json(as_dict(sent))
        return
    for warning in sent.warnings:
        warn(warning_text(warning))
    out.print(f"The message to {to} waits for a connector: tessera messages show {sent.message_id}")


async def _is_campaign(clients: Clients, name: str) -> bool:
    try:
        await (await clients.campaigns()).GetCampaign(campaign_pb.GetCampaignRequest(campaign_id=name))
    except grpc.aio.AioRpcError as error:
        if isinstance(error_from(error), NotFound):
            return False
        raise
    return True


def _template_of(folder: Path, name: str) -> Template:
    found = {one.definition_id: one.message for one in load(folder).templates}
    if name not in found:
        raise NotFound(f"{folder} holds no template {name}; it has {', '.join(found) or 'none'}")
    return found[name]


async def _properties(clients: Clients, profile_id: str, event: str) -> bytes:
    """The properties that an `--event` names; empty without one."""
    if not event:
        return b""
    if event.lstrip().startswith("{"):
        try:
            orjson.loads(event)
        except orjson.JSONDecodeError as error:
            raise Invalid("--event", f"is not valid JSON: {error}") from None
        return event.encode()
    request = history_pb.ListEventsRequest(profile_id=profile_id)
    async for page in pages((await clients.history()).ListEvents, request):
        for one in page.events:
            if one.name == event:
                return one.properties_json
    raise NotFound(f"this person has no event {event!r}: give its properties as a JSON object")
