"""`tessera messages`: what was sent to whom, and why; and what was not."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import grpc
import typer
from rich.text import Text

from cli.clients import Clients, connect
from cli.formats import as_dict, event_name, json_lines_of, moment, word
from cli.pages import pages
from cli.terminal import DEFAULT_HOME, HIDDEN, HomeOption, JsonOption, facts, line, out, print_json, run
from libs.errors import Invalid, NotFound, PermissionDenied, Unavailable
from libs.rpc import error_from
from tessera.profile.v1 import history_service_pb2 as history_pb
from tessera.profile.v1.history_pb2 import HistoryEvent
from tessera.render.v1 import message_service_pb2 as pb
from tessera.render.v1.message_pb2 import DeliveryState, Message, Outcome

app = typer.Typer(help="Messages, and decisions not to send one.", no_args_is_help=True)

_STYLES = {
    "pending": "cyan",
    "leased": "cyan",
    "acknowledged": "green",
    "missed": "dim",
    "suppressed": "yellow",
    "withdrawn": "yellow",
    "rejected": "bold red",
    "failed": "bold red",
}
_BODY = ("html", "text", "headers")
_OUTCOMES = ("rendered", "missed", "suppressed", "failed")
_DELIVERIES = ("pending", "leased", "acknowledged", "rejected", "withdrawn")
_NOTHING = DeliveryState.DELIVERY_STATE_UNSPECIFIED
_POLL_SECONDS = 0.5
_MOST_PAGES = 20
_LEAST_PREFIX = 4


@app.command("tail")
def tail(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="How many.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones until Ctrl-C.")] = False,
    campaign: Annotated[str, typer.Option(help="Only this campaign's.")] = "",
    outcome: Annotated[str, typer.Option(help="Only rendered, missed, suppressed or failed.")] = "",
    delivery: Annotated[
        str, typer.Option(help="Only pending, leased, acknowledged, rejected or withdrawn.")
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show the last messages and decisions not to send, oldest first.

    [bold]Examples[/bold]

      tessera messages tail -f

      tessera messages tail --outcome suppressed --json

      tessera messages tail --delivery rejected
    """
    wanted = pb.ListMessagesRequest(page_size=limit, campaign_id=campaign)
    if outcome:
        wanted.outcome = Outcome.Value(f"OUTCOME_{_one_of('--outcome', outcome, _OUTCOMES)}")
    if delivery:
        state = _one_of("--delivery", delivery, _DELIVERIES)
        wanted.delivery_state = DeliveryState.Value(f"DELIVERY_STATE_{state}")
    with suppress(KeyboardInterrupt):
        run(_tail(home, wanted, follow, as_json))


def _one_of(option: str, given: str, words: Sequence[str]) -> str:
    if given.lower() not in words:
        raise Invalid(option, f"is {', '.join(words[:-1])} or {words[-1]}, not {given!r}")
    return given.upper()


async def _tail(home: Path, wanted: pb.ListMessagesRequest, follow: bool, as_json: bool) -> None:
    async with connect(home) as clients:
        messages = await clients.messages()
        first = list((await messages.ListMessages(wanted)).messages)
        for message in reversed(first):
            _print_line(message, as_json)
        if not (first or follow or as_json):
            out.print(_none_of(wanted))
        seen = {message.message_id for message in first}
        while follow:
            await asyncio.sleep(_POLL_SECONDS)
            fresh = [m for m in (await messages.ListMessages(wanted)).messages if m.message_id not in seen]
            for message in reversed(fresh):
                _print_line(message, as_json)
            seen |= {message.message_id for message in fresh}


def _none_of(wanted: pb.ListMessagesRequest) -> str:
    """That nothing is there, and what was asked for."""
    campaign = f" of the campaign {wanted.campaign_id}" if wanted.campaign_id else ""
    states = []
    if wanted.outcome:
        states.append(f"whose outcome is {word(Outcome.Name(wanted.outcome), 'OUTCOME')}")
    if wanted.delivery_state:
        state = word(DeliveryState.Name(wanted.delivery_state), "DELIVERY_STATE")
        states.append(f"whose delivery is {state}")
    if not (campaign or states):
        return "There are no messages yet."
    return f"There is no message{campaign} {' and '.join(states)}".rstrip() + ": ask without a filter"


def _print_line(message: Message, as_json: bool) -> None:
    if as_json:
        print_json(summary_of(message))
        return
    state = state_of(message)
    text = Text()
    text.append(f"{moment(message.create_time)[5:]}  {message.message_id[:8]}  ", "dim")
    text.append(f"{state:<12} ", _STYLES.get(state, ""))
    text.append(f"{message.campaign_id:<19} ")
    text.append(f"{message.to or message.profile_id}  ", "cyan")
    text.append(f"{message.subject}  " if message.subject else "")
    text.append(message.outcome_reason, "dim")
    line(text)


def outcome_of(message: Message) -> str:
    """The outcome as a word."""
    return word(Outcome.Name(message.outcome), "OUTCOME")


def delivery_of(message: Message) -> str:
    """How the delivery stands, as a word."""
    return word(DeliveryState.Name(message.delivery_state), "DELIVERY_STATE")


def state_of(message: Message) -> str:
    """What became of it so far: how the delivery stands where there is something to deliver."""
    return outcome_of(message) if message.delivery_state == _NOTHING else delivery_of(message)


def summary_of(message: Message) -> dict[str, object]:
    """A message without its body."""
    return {name: value for name, value in as_dict(message).items() if name not in _BODY}


@app.command("show")
def show(
    message_id: Annotated[str, typer.Argument(help="The message's id, or its beginning.")],
    html: Annotated[bool, typer.Option("--html", help="Print the HTML part and nothing else.")] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show one message, and everything that it came from.

    [bold]Examples[/bold]

      tessera messages show 0197c1

      tessera messages show 0197c1 --html > message.html
    """

    if len(message_id) < _LEAST_PREFIX:
        raise Invalid("MESSAGE_ID", f"is at least the first {_LEAST_PREFIX} characters of a message's id")

    async def call() -> tuple[Message, HistoryEvent | None]:
        async with connect(home) as clients:
            messages = await clients.messages()
            listed = pages(messages.ListMessages, pb.ListMessagesRequest())
            async for message in (one async for page in listed for one in page.messages):
                if message.message_id.startswith(message_id):
                    request = pb.GetMessageRequest(message_id=message.message_id)
                    whole = (await messages.GetMessage(request)).message
                    return whole, await _cause(clients, whole)
        raise NotFound(f"there is no message {message_id}")

    message, cause = run(call())
    if as_json:
        print_json({**as_dict(message), "cause": as_dict(cause) if cause else None})
        return
    if html:
        out.print(message.html, markup=False, soft_wrap=True)
        return
    out.print(facts(*_facts(message, cause)))
    if message.outcome == Outcome.OUTCOME_RENDERED and not message.to:
        out.print(HIDDEN)
    if message.text:
        out.print()
        out.print(message.text, markup=False, soft_wrap=True)


async def _cause(clients: Clients, message: Message) -> HistoryEvent | None:
    """The event that decided; None where it can't be read, or lies too far back."""
    if not message.cause_id or "profile" not in clients.running.services:
        return None
    history, token = await clients.history(), ""
    try:
        for _ in range(_MOST_PAGES):
            request = history_pb.ListEventsRequest(
                profile_id=message.profile_id, page_size=500, page_token=token
            )
            page = await history.ListEvents(request)
            for event in page.events:
                if event.event_id == message.cause_id:
                    return event
            token = page.next_page_token
            if not token:
                break
    except grpc.aio.AioRpcError as error:
        # A key may read messages and no profiles; and a profile may be gone.
        if not isinstance(error_from(error), NotFound | PermissionDenied | Unavailable):
            raise
    return None


def _facts(message: Message, cause: HistoryEvent | None = None) -> list[tuple[str, str]]:
    outcome, delivery = outcome_of(message), delivery_of(message)
    # The reason is of what happened last.
    reason = f": {message.outcome_reason}" if message.outcome_reason else ""
    if message.delivery_state == _NOTHING:
        outcome += reason
    else:
        delivery += reason
    known = [
        ("message", message.message_id),
        ("outcome", outcome),
        ("delivery", delivery),
        ("from", message.sender),
        ("to", message.to),
        ("subject", message.subject),
        ("preheader", message.preheader),
        ("campaign", message.campaign_id),
        ("because of", f"{message.definition_id} at {moment(message.cause_time)}"),
        *_event_facts(message, cause),
        ("template", _at("version", message.template_id, message.template_version)),
        ("left out", "; ".join(message.omitted)),
        ("model", f"version {message.model_version}" if message.model_version else ""),
        ("profile", _at("at revision", message.profile_id, message.profile_revision)),
        (
            "rendered" if message.outcome == Outcome.OUTCOME_RENDERED else "decided",
            moment(message.create_time),
        ),
        ("expires", "" if message.delivery_state == _NOTHING else moment(message.expire_time)),
    ]
    return [(name, value) for name, value in known if value and value != "unspecified"]


def _at(what: str, name: str, number: int) -> str:
    """A name with its number, where it has one: what was never rendered has none."""
    return f"{name} {what} {number}" if name and number else name


def _event_facts(message: Message, cause: HistoryEvent | None) -> list[tuple[str, str]]:
    """The event's name and values, one a line; its id where that is all that can be told."""
    if not message.cause_id:
        return []
    if cause is None:
        return [
            (
                "event",
                f"none that is known: time alone decided, or it is out of reach ({message.cause_id.hex()})",
            )
        ]
    name = f"{event_name(cause)} from {cause.source_id} at {moment(cause.event_time)}"
    values = [("", value) for value in json_lines_of(cause.properties_json)]
    return [("event", name), *values]
