"""`tessera templates` and `tessera campaigns`: what is sent, and what it says."""

from typing import Annotated

import typer
from rich.text import Text

from cli.clients import connect
from cli.formats import as_dict, moment, span, word
from cli.pages import pages
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
from tessera.render.v1 import campaign_service_pb2 as campaign_pb
from tessera.render.v1 import template_service_pb2 as template_pb
from tessera.render.v1.campaign_pb2 import Campaign, Stream
from tessera.render.v1.template_pb2 import Template

templates_app = typer.Typer(help="Templates, which say what mail is made of.", no_args_is_help=True)
campaigns_app = typer.Typer(help="Campaigns, which say who gets mail, and when.", no_args_is_help=True)

TemplateArgument = Annotated[str, typer.Argument(help="The template's id.")]
CampaignArgument = Annotated[str, typer.Argument(help="The campaign's id.")]
VersionOption = Annotated[
    int, typer.Option("--version", min=0, help="An older version; 0 is the newest.", show_default=False)
]


@templates_app.command("list")
def list_templates(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List all templates."""

    async def call() -> list[Template]:
        async with connect(home) as clients:
            listed = pages((await clients.templates()).ListTemplates, template_pb.ListTemplatesRequest())
            return [template async for page in listed for template in page.templates]

    templates = run(call())
    if as_json:
        print_json([as_dict(template) for template in templates])
        return
    if not templates:
        out.print("There are no templates yet: tessera apply examples/shop")
        return
    shown = table("template", "version", "changed", right=frozenset({"version"}))
    for one in templates:
        shown.add_row(one.template_id, str(one.version), moment(one.update_time))
    out.print(shown)


@templates_app.command("show")
def show_template(
    template_id: TemplateArgument,
    version: VersionOption = 0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show a template with all its parts.

    [bold]Example[/bold]

      tessera templates show welcome --version 1
    """

    async def call() -> Template:
        async with connect(home) as clients:
            request = template_pb.GetTemplateRequest(template_id=template_id, version=version)
            return (await (await clients.templates()).GetTemplate(request)).template

    template = run(call())
    if as_json:
        print_json(as_dict(template))
        return
    out.print(
        f"[bold]{template.template_id}[/bold] version {template.version}, {moment(template.update_time)}"
    )
    for name in ("subject", "preheader", "html", "text"):
        if part := getattr(template, name):
            out.print(f"\n[bold]{name}[/bold]")
            out.print(part, markup=False, soft_wrap=True)


@templates_app.command("versions")
def template_versions(
    template_id: TemplateArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False
) -> None:
    """List the versions of a template, newest first."""

    async def call() -> list[Template]:
        async with connect(home) as clients:
            request = template_pb.ListTemplateVersionsRequest(template_id=template_id)
            listed = pages((await clients.templates()).ListTemplateVersions, request)
            return [template async for page in listed for template in page.templates]

    versions = run(call())
    if as_json:
        print_json([as_dict(version) for version in versions])
        return
    if not versions:
        out.print(f"There never was a template {template_id}.")
        return
    shown = table("version", "made", "subject", right=frozenset({"version"}))
    for one in versions:
        shown.add_row(str(one.version), moment(one.update_time), Text(one.subject, style="dim"))
    out.print(shown)


@templates_app.command("delete")
def delete_template(
    template_id: TemplateArgument, yes: YesOption = False, home: HomeOption = DEFAULT_HOME
) -> None:
    """Delete a template; its versions stay, for the messages that were made with them."""
    ask_before_deleting(f"template {template_id}", yes)

    async def call() -> None:
        async with connect(home) as clients:
            request = template_pb.DeleteTemplateRequest(template_id=template_id)
            await (await clients.templates()).DeleteTemplate(request)

    run(call())
    out.print(f"template {template_id} is deleted")


@campaigns_app.command("list")
def list_campaigns(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List all campaigns."""

    async def call() -> list[Campaign]:
        async with connect(home) as clients:
            listed = pages((await clients.campaigns()).ListCampaigns, campaign_pb.ListCampaignsRequest())
            return [campaign async for page in listed for campaign in page.campaigns]

    campaigns = run(call())
    if as_json:
        print_json([as_dict(campaign) for campaign in campaigns])
        return
    if not campaigns:
        out.print("There are no campaigns yet: tessera apply examples/shop")
        return
    shown = table(
        "campaign", "", "starts when", "template", "stream", "version", right=frozenset({"version"})
    )
    for one in campaigns:
        paused = "[yellow]paused[/yellow]" if one.paused else ""
        shown.add_row(one.campaign_id, paused, _start(one), one.template_id, _stream(one), str(one.version))
    out.print(shown)


@campaigns_app.command("show")
def show_campaign(
    campaign_id: CampaignArgument,
    version: VersionOption = 0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show a campaign."""

    async def call() -> Campaign:
        async with connect(home) as clients:
            request = campaign_pb.GetCampaignRequest(campaign_id=campaign_id, version=version)
            return (await (await clients.campaigns()).GetCampaign(request)).campaign

    campaign = run(call())
    if as_json:
        print_json(as_dict(campaign))
        return
    out.print(
        facts(
            ("campaign", campaign.campaign_id),
            ("name", campaign.display_name),
            ("starts when", _start(campaign)),
            ("template", campaign.template_id),
            ("from", campaign.sender),
            ("answers to", campaign.reply_to),
            ("stream", _stream(campaign)),
            ("recommendations", str(campaign.recommendations or "")),
            ("older causes", f"are missed after {span(campaign.max_age.seconds)}"),
            ("waits", f"for a connector for {span(campaign.expire_after.seconds)} at most"),
            ("paused", "yes" if campaign.paused else ""),
            ("version", f"{campaign.version} of {moment(campaign.update_time)}"),
        )
    )


@campaigns_app.command("versions")
def campaign_versions(
    campaign_id: CampaignArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False
) -> None:
    """List the versions of a campaign, newest first."""

    async def call() -> list[Campaign]:
        async with connect(home) as clients:
            request = campaign_pb.ListCampaignVersionsRequest(campaign_id=campaign_id)
            listed = pages((await clients.campaigns()).ListCampaignVersions, request)
            return [campaign async for page in listed for campaign in page.campaigns]

    versions = run(call())
    if as_json:
        print_json([as_dict(version) for version in versions])
        return
    if not versions:
        out.print(f"There never was a campaign {campaign_id}.")
        return
    shown = table("version", "made", "", "starts when", "template", right=frozenset({"version"}))
    for one in versions:
        paused = "[yellow]paused[/yellow]" if one.paused else ""
        shown.add_row(str(one.version), moment(one.update_time), paused, _start(one), one.template_id)
    out.print(shown)


@campaigns_app.command("delete")
def delete_campaign(
    campaign_id: CampaignArgument, yes: YesOption = False, home: HomeOption = DEFAULT_HOME
) -> None:
    """Delete a campaign; what waits for a connector is still sent, and its versions stay."""
    ask_before_deleting(f"campaign {campaign_id}", yes)

    async def call() -> None:
        async with connect(home) as clients:
            request = campaign_pb.DeleteCampaignRequest(campaign_id=campaign_id)
            await (await clients.campaigns()).DeleteCampaign(request)

    run(call())
    out.print(f"campaign {campaign_id} is deleted")


def _start(campaign: Campaign) -> str:
    if campaign.segment_id:
        return f"somebody enters {campaign.segment_id}"
    return f"{campaign.trigger_id} fires"


def _stream(campaign: Campaign) -> str:
    return word(Stream.Name(campaign.stream), "STREAM")
