"""`tessera operations`: long-running work of the services, how far it is, and its end."""

from collections.abc import Sequence
from typing import Annotated

import grpc
import typer
from rich.text import Text

from cli.clients import Clients, connect
from cli.formats import as_dict, moment, word
from cli.pages import pages
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, err, out, print_json, run, table
from libs.errors import NotFound
from libs.rpc import error_from
from tessera.operations.v1 import operation_service_pb2 as pb
from tessera.operations.v1 import set_aside_service_pb2 as set_aside_pb
from tessera.operations.v1.operation_pb2 import Operation, OperationState

app = typer.Typer(
    help="Long-running work: imports, backfills, trainings; and people who could not be worked with.",
    no_args_is_help=True,
)

# Those that have any.
_SERVICES = ("ingest", "segment", "recommend")
# Those that keep something of each person.
_READERS = ("segment", "recommend")
_IdArgument = Annotated[str, typer.Argument(help="The operation's id, from the list.", metavar="OPERATION")]


@app.command("list")
def list_(
    most: Annotated[int, typer.Option("--limit", help="The most to list.", min=1, max=500)] = 20,
    running: Annotated[bool, typer.Option("--running", help="Only what is at work now.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List operations, newest first. They are kept for 90 days after their end."""

    async def call() -> list[Operation]:
        state = (
            OperationState.OPERATION_STATE_RUNNING if running else OperationState.OPERATION_STATE_UNSPECIFIED
        )
        found: list[Operation] = []
        async with connect(home) as clients:
            for service in _running_here(clients):
                stub = await clients.operations(service)
                request = pb.ListOperationsRequest(page_size=most, state=state)
                found += (await stub.ListOperations(request)).operations
        return sorted(found, key=lambda one: one.create_time.ToNanoseconds(), reverse=True)[:most]

    operations = run(call())
    if as_json:
        print_json([as_dict(one) for one in operations])
        return
    if not operations:
        out.print("Nothing is at work." if running else "There were no operations yet.")
        return
    shown = table("operation", "what", "state", "started")
    shown.columns[0].no_wrap = True
    for one in operations:
        what = f"{one.kind} {one.subject}".strip()
        state = _state(one) if one.HasField("end_time") else f"{_state(one)}, {_done(one)}"
        shown.add_row(one.operation_id, Text(what), state, moment(one.create_time))
    out.print(shown)


@app.command("watch")
def watch(operation_id: _IdArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Follow an operation to its end, and say what came of it. Ctrl-C ends the watching, not the work."""

    async def call() -> Operation:
        async with connect(home) as clients:
            service = await _service_of(clients, operation_id)
            stub = await clients.operations(service)
            last = Operation()
            with err.status(operation_id) as status:
                async for answer in stub.WatchOperation(pb.WatchOperationRequest(operation_id=operation_id)):
                    last = answer.operation
                    status.update(f"{last.kind} {last.subject}: {_done(last)} {last.detail}")
            return last

    ended = run(call())
    _tell(ended, as_json)
    if ended.state != OperationState.OPERATION_STATE_SUCCEEDED:
        raise typer.Exit(1)


@app.command("cancel")
def cancel(operation_id: _IdArgument, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Ask an operation to end at its next step. What it has done until then stays done."""

    async def call() -> Operation:
        async with connect(home) as clients:
            stub = await clients.operations(await _service_of(clients, operation_id))
            asked = await stub.CancelOperation(pb.CancelOperationRequest(operation_id=operation_id))
            return asked.operation

    _tell(run(call()), as_json)


@app.command("set-aside")
def set_aside(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """List the people whom segment or recommend can't work with for now, and why.

    What was known of them stays as it was. They are tried again by themselves, at least every six hours.
    """

    async def call() -> list[tuple[str, set_aside_pb.SetAsideProfile]]:
        async with connect(home) as clients:
            return [
                (service, profile)
                for service in _running_here(clients, _READERS)
                async for page in pages(
                    (await clients.set_aside(service)).ListSetAsideProfiles,
                    set_aside_pb.ListSetAsideProfilesRequest(),
                )
                for profile in page.profiles
            ]

    found = run(call())
    if as_json:
        print_json([{"service": service, **as_dict(profile)} for service, profile in found])
        return
    if not found:
        out.print("Nobody is set aside.")
        return
    shown = table("profile", "service", "since", "tries", "reason", right=frozenset({"tries"}))
    shown.columns[0].no_wrap = True
    for service, one in found:
        shown.add_row(
            one.profile_id, service, moment(one.set_aside_time), str(one.attempts), Text(one.reason)
        )
    out.print(shown)


@app.command("rebuild")
def rebuild(
    profile_ids: Annotated[list[str], typer.Argument(help="The profiles' ids.", metavar="PROFILE...")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Let segment and recommend compute people anew from their whole histories, soon.

    For those who are set aside, once a version runs that can handle them; harmless for anybody else.
    """

    async def call() -> list[str]:
        request = set_aside_pb.RebuildProfilesRequest(profile_ids=profile_ids)
        async with connect(home) as clients:
            asked = _running_here(clients, _READERS)
            for service in asked:
                await (await clients.set_aside(service)).RebuildProfiles(request)
            return asked

    out.print(f"{len(profile_ids):,} will be computed anew by {' and '.join(run(call()))}")


def _running_here(clients: Clients, among: Sequence[str] = _SERVICES) -> list[str]:
    return [service for service in among if service in clients.running.services]


async def _service_of(clients: Clients, operation_id: str) -> str:
    for service in _running_here(clients):
        try:
            request = pb.GetOperationRequest(operation_id=operation_id)
            await (await clients.operations(service)).GetOperation(request)
        except grpc.aio.AioRpcError as error:
            if not isinstance(error_from(error), NotFound):
                raise
        else:
            return service
    raise NotFound(f"there is no operation {operation_id}")


def _tell(operation: Operation, as_json: bool) -> None:
    if as_json:
        print_json(as_dict(operation))
        return
    asked = ", asked to end" if operation.cancel_requested and not operation.HasField("end_time") else ""
    out.print(f"{operation.kind} {operation.subject}: {_state(operation)}{asked}", markup=False)
    if operation.detail:
        out.print(operation.detail, markup=False, soft_wrap=True)
    if operation.result_json:
        out.print(operation.result_json.decode(), markup=False, soft_wrap=True)


def _state(operation: Operation) -> str:
    return word(OperationState.Name(operation.state), "OPERATION_STATE")


def _done(operation: Operation) -> str:
    return f"{operation.done:,} of {operation.total:,}" if operation.total else f"{operation.done:,}"
