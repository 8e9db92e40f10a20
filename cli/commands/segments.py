"""`tessera segments` and `tessera triggers`: what is noticed, and who is in what."""

from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
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
from tessera.profile.v1 import profile_service_pb2 as profile_pb
from tessera.profile.v1.profile_pb2 import Profile
from tessera.segment.v1 import membership_service_pb2 as membership_pb
from tessera.segment.v1 import segment_service_pb2 as segment_pb
from tessera.segment.v1 import trigger_service_pb2 as trigger_pb
from tessera.segment.v1.membership_pb2 import Membership
from tessera.segment.v1.segment_pb2 import DefinitionState, Segment, SegmentVersion
from tessera.segment.v1.trigger_pb2 import Trigger, TriggerMode

segments_app = typer.Typer(help="Segments, and who is in them.", no_args_is_help=True)
triggers_app = typer.Typer(help="Triggers, which notice what did not happen.", no_args_is_help=True)

SegmentArgument = Annotated[str, typer.Argument(help="The segment's id.", metavar="SEGMENT")]
TriggerArgument = Annotated[str, typer.Argument(help="The trigger's id.", metavar="TRIGGER")]


@segments_app.command("list")
def list_(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List all segments with their sizes."""

    async def call() -> list[Segment]:
        async with connect(home) as clients:
            segment = await clients.segment()
            found: list[Segment] = []
            async for page in pages(segment.ListSegments, segment_pb.ListSegmentsRequest()):
                found += page.segments
            return found

    segments = run(call())
    if as_json:
        print_json([as_dict(segment) for segment in segments])
        return
    if not segments:
        out.print("There are no segments yet: tessera apply examples/shop")
        return
    out.print(segments_table(segments))


def segments_table(segments: list[Segment]) -> Table:
    """Segments, one a line."""
    shown = table("segment", "people", "", "rule", right=frozenset({"people"}))
    for segment in segments:
        state = word(DefinitionState.Name(segment.state), "DEFINITION_STATE")
        note = "" if state == "active" else f"[yellow]{state}[/yellow]"
        shown.add_row(
            segment.segment_id, f"{segment.member_count:,}", note, Text(segment.expression, style="dim")
        )
    return shown


@segments_app.command("members")
def members(
    segment_id: Annotated[str, typer.Argument(help="The segment.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List people in a segment.

    [bold]Example[/bold]

      tessera segments members loyal-customers -n 100 --json
    """

    async def call() -> tuple[list[Membership], dict[str, Profile]]:
        found: list[Membership] = []
        async with connect(home) as clients:
            memberships, profile = await clients.memberships(), await clients.profile()
            token = ""
            while len(found) < limit:
                request = membership_pb.ListMembersRequest(
                    segment_id=segment_id, page_size=min(limit - len(found), 1000), page_token=token
                )
                page = await memberships.ListMembers(request)
                found += page.memberships
                token = page.next_page_token
                if not token:
                    break
            known: dict[str, Profile] = {}
            if found and not as_json:
                ids = [membership.profile_id for membership in found[:1000]]
                answer = await profile.BatchGetProfiles(profile_pb.BatchGetProfilesRequest(profile_ids=ids))
                known = dict(answer.profiles)
        return found, known

    found, known = run(call())
    if as_json:
        print_json([as_dict(membership) for membership in found])
        return
    shown = table("profile", "known as", "since")
    for membership in found:
        person = known.get(membership.profile_id)
        name = person.identifiers[0].value if person and person.identifiers else ""
        shown.add_row(membership.profile_id, Text(name), moment(membership.enter_time))
    out.print(shown if found else f"Nobody is in {segment_id}.")


@segments_app.command("show")
def show_segment(
    segment_id: SegmentArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False
) -> None:
    """Show a segment: its rule, how many are in it, and whether all of them are known yet."""

    async def call() -> Segment:
        async with connect(home) as clients:
            request = segment_pb.GetSegmentRequest(segment_id=segment_id)
            return (await (await clients.segment()).GetSegment(request)).segment

    segment = run(call())
    if as_json:
        print_json(as_dict(segment))
        return
    out.print(
        facts(
            ("segment", segment.segment_id),
            ("name", segment.display_name),
            ("rule", segment.expression),
            ("people", f"{segment.member_count:,}"),
            ("state", _state(segment.state)),
            ("version", _version(segment.version, segment.update_time)),
        )
    )


@segments_app.command("versions")
def segment_versions(
    segment_id: SegmentArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False
) -> None:
    """List the versions of a segment, newest first."""

    async def call() -> list[SegmentVersion]:
        async with connect(home) as clients:
            request = segment_pb.ListSegmentVersionsRequest(segment_id=segment_id)
            listed = pages((await clients.segment()).ListSegmentVersions, request)
            return [version async for page in listed for version in page.versions]

    versions = run(call())
    if as_json:
        print_json([as_dict(version) for version in versions])
        return
    shown = table("version", "made", "rule", right=frozenset({"version"}))
    for one in versions:
        shown.add_row(str(one.version), moment(one.create_time), Text(one.expression, style="dim"))
    out.print(shown if versions else f"There never was a segment {segment_id}.")


@segments_app.command("delete")
def delete_segment(
    segment_id: SegmentArgument, yes: YesOption = False, home: HomeOption = DEFAULT_HOME
) -> None:
    """Delete a segment; its members leave it, and campaigns that it starts start no more."""
    ask_before_deleting(f"segment {segment_id}", yes)

    async def call() -> None:
        async with connect(home) as clients:
            request = segment_pb.DeleteSegmentRequest(segment_id=segment_id)
            await (await clients.segment()).DeleteSegment(request)

    run(call())
    out.print(f"segment {segment_id} is deleted")


@triggers_app.command("list")
def list_triggers(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List all triggers."""

    async def call() -> list[Trigger]:
        async with connect(home) as clients:
            listed = pages((await clients.triggers()).ListTriggers, trigger_pb.ListTriggersRequest())
            return [trigger async for page in listed for trigger in page.triggers]

    triggers = run(call())
    if as_json:
        print_json([as_dict(trigger) for trigger in triggers])
        return
    if not triggers:
        out.print("There are no triggers yet: tessera apply examples/shop")
        return
    shown = table("trigger", "", "fires", "version", right=frozenset({"version"}))
    for one in triggers:
        state = _state(one.state)
        note = "" if state == "active" else f"[yellow]{state}[/yellow]"
        shown.add_row(one.trigger_id, note, Text(fires(one), style="dim"), str(one.version))
    out.print(shown)


@triggers_app.command("show")
def show_trigger(
    trigger_id: TriggerArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False
) -> None:
    """Show a trigger."""

    async def call() -> Trigger:
        async with connect(home) as clients:
            request = trigger_pb.GetTriggerRequest(trigger_id=trigger_id)
            return (await (await clients.triggers()).GetTrigger(request)).trigger

    trigger = run(call())
    if as_json:
        print_json(as_dict(trigger))
        return
    taken_back = "by an answer, where the message still waits" if trigger.withdraw_when_answered else ""
    out.print(
        facts(
            ("trigger", trigger.trigger_id),
            ("name", trigger.display_name),
            ("fires", fires(trigger)),
            ("only if", trigger.condition),
            ("taken back", taken_back),
            ("state", _state(trigger.state)),
            ("version", _version(trigger.version, trigger.update_time)),
        )
    )


@triggers_app.command("versions")
def trigger_versions(
    trigger_id: TriggerArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False
) -> None:
    """List the versions of a trigger, newest first."""

    async def call() -> list[Trigger]:
        async with connect(home) as clients:
            request = trigger_pb.ListTriggerVersionsRequest(trigger_id=trigger_id)
            listed = pages((await clients.triggers()).ListTriggerVersions, request)
            return [version.trigger async for page in listed for version in page.versions]

    versions = run(call())
    if as_json:
        print_json([as_dict(version) for version in versions])
        return
    shown = table("version", "made", "fires", right=frozenset({"version"}))
    for one in versions:
        shown.add_row(str(one.version), moment(one.update_time), Text(fires(one), style="dim"))
    out.print(shown if versions else f"There never was a trigger {trigger_id}.")


@triggers_app.command("delete")
def delete_trigger(
    trigger_id: TriggerArgument, yes: YesOption = False, home: HomeOption = DEFAULT_HOME
) -> None:
    """Delete a trigger; what waits for it fires no more."""
    ask_before_deleting(f"trigger {trigger_id}", yes)

    async def call() -> None:
        async with connect(home) as clients:
            request = trigger_pb.DeleteTriggerRequest(trigger_id=trigger_id)
            await (await clients.triggers()).DeleteTrigger(request)

    run(call())
    out.print(f"trigger {trigger_id} is deleted")


def fires(trigger: Trigger) -> str:
    """When a trigger fires, in words."""
    each = trigger.mode == TriggerMode.TRIGGER_MODE_EACH_EVENT
    event = f"{'each' if each else 'the last'} {trigger.event_name}"
    if not trigger.delay.seconds:
        return f"at {event}"
    unless = f" without {' or '.join(trigger.unless_event_names)}" if trigger.unless_event_names else ""
    return f"{span(trigger.delay.seconds)} after {event}{unless}"


def _state(state: DefinitionState.ValueType) -> str:
    return word(DefinitionState.Name(state), "DEFINITION_STATE")


def _version(version: int, time: Timestamp) -> str:
    return f"{version} of {moment(time)}" if moment(time) else str(version)
