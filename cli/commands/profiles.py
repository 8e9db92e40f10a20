"""`tessera profile`: who somebody is."""

from typing import Annotated

import orjson
import typer
from rich.table import Table
from rich.text import Text

from cli import people
from cli.clients import connect
from cli.formats import as_dict, event_name, json_text, moment
from cli.terminal import DEFAULT_HOME, HIDDEN, HomeOption, JsonOption, out, pairs, print_json, run, table
from tessera.ingest.v1.event_pb2 import EventType
from tessera.profile.v1 import history_service_pb2 as history_pb
from tessera.profile.v1.history_pb2 import HistoryEvent
from tessera.profile.v1.profile_pb2 import Profile
from tessera.segment.v1 import membership_service_pb2 as membership_pb
from tessera.segment.v1.membership_pb2 import Membership

app = typer.Typer(help="Who somebody is.", no_args_is_help=True)


@app.callback()
def _profile() -> None:
    """Who somebody is."""


@app.command("show")
def show(
    identifier: Annotated[str, typer.Argument(help="User id, email, phone, anonymous id or profile id.")],
    events: Annotated[int, typer.Option("--events", "-n", min=0, max=500, help="How many events.")] = 10,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show what is known of a person: identifiers, traits, consent, segments, last events.

    [bold]Examples[/bold]

      tessera profile show ada@example.com

      tessera profile show user-42 --events 50 --json
    """

    async def call() -> tuple[Profile, list[Membership], list[HistoryEvent]]:
        async with connect(home) as clients:
            person = await people.find(clients, identifier)
            memberships: list[Membership] = []
            if "segment" in clients.running.services:
                answer = await (await clients.memberships()).GetMemberships(
                    membership_pb.GetMembershipsRequest(profile_ids=[person.profile_id])
                )
                memberships = list(answer.memberships)
            request = history_pb.ListEventsRequest(profile_id=person.profile_id, page_size=max(events, 1))
            last = (await (await clients.history()).ListEvents(request)).events
            return person, memberships, list(last)[:events]

    person, memberships, last = run(call())
    if as_json:
        print_json(
            {
                **as_dict(person),
                "segments": [as_dict(membership) for membership in memberships],
                "events": [as_dict(event) for event in last],
            }
        )
        return
    _print_profile(person, memberships)
    if not person.identifiers:
        out.print(HIDDEN)
    if last:
        out.print(f"\n[bold]last {len(last)} of {person.event_count:,} events[/bold]")
        out.print(events_table(last))


def _print_profile(person: Profile, memberships: list[Membership]) -> None:
    shown = pairs()
    shown.add_row("[bold]profile[/bold]", f"{person.profile_id}  [dim]revision {person.revision}[/dim]")
    shown.add_row("since", moment(person.create_time))
    for identifier in person.identifiers:
        shown.add_row(people.KIND_WORDS[identifier.kind], Text(identifier.value))
    if person.absorbed_profile_ids:
        shown.add_row("absorbed", f"{len(person.absorbed_profile_ids)} other profiles")
    for name, value in orjson.loads(person.traits_json or b"{}").items():
        shown.add_row(
            f"[dim]trait[/dim] {name}",
            Text(value if isinstance(value, str) else orjson.dumps(value).decode()),
        )
    for purpose, granted in sorted(person.consent.items()):
        state = "[green]granted[/green]" if granted else "[red]denied[/red]"
        shown.add_row(f"[dim]consent[/dim] {purpose}", state)
    for membership in memberships:
        shown.add_row(
            "[dim]in segment[/dim]",
            f"{membership.segment_id}  [dim]since {moment(membership.enter_time)}[/dim]",
        )
    out.print(shown)


def events_table(events: list[HistoryEvent]) -> Table:
    """Events, one a line."""
    shown = table("time", "source", "event", "properties")
    for column in shown.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    # The rest of the line is for the properties, and what does not fit is cut.
    shown.expand, shown.columns[3].ratio = True, 1
    for event in events:
        identifies = event.type == EventType.EVENT_TYPE_IDENTIFY
        content = Text(json_text(event.traits_json if identifies else event.properties_json), style="dim")
        shown.add_row(moment(event.event_time), event.source_id, event_name(event), content)
    return shown
