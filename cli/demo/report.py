"""What the demo tells at its end."""

from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.text import Text

from cli.demo.journey import Journey
from cli.terminal import pairs


class Report(msgspec.Struct):
    """Figures of a whole run."""

    history: str
    home: str
    events_accepted: int = 0
    events_rejected: int = 0
    sending_seconds: float = 0.0
    applied_seconds: float = 0.0
    """From the first event of the history until the last membership."""
    live_events: int = 0
    profiles: int = 0
    segments: dict[str, int] = {}
    transitions: dict[str, int] = {}
    messages: dict[str, int] = {}
    delivered: int = 0
    withdrawn: int = 0
    """Taken back before they were delivered, since what they asked for had happened."""
    model: str = ""
    journey: Journey | None = None
    steps: dict[str, float] = {}
    seconds: float = 0.0
    problems: list[str] = []
    shift_weeks: int = 0
    """By how many weeks the history's times have been moved."""

    @property
    def succeeded(self) -> bool:
        """Whether everything went well."""
        return not self.problems

    @property
    def events_per_second(self) -> float:
        """The rate end to end: from the front door to the last membership."""
        history = self.events_accepted - self.live_events
        return history / self.applied_seconds if self.applied_seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Everything, for scripts."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {**plain, "events_per_second": round(self.events_per_second), "succeeded": self.succeeded}


def show(report: Report, console: Console) -> None:
    """Print the report."""
    if report.profiles:
        console.print()
        console.print(_figures(report))
    if report.journey:
        console.print()
        console.print(_story(report.journey))
    console.print()
    for problem in report.problems:
        console.print(f"[bold red]problem:[/bold red] {problem}", soft_wrap=True)


def _figures(report: Report) -> RenderableType:
    figures = pairs()
    refused = f", {report.events_rejected:,} rejected" if report.events_rejected else ""
    figures.add_row("[bold]events[/bold]", f"{report.events_accepted:,} accepted{refused}")
    figures.add_row(
        "[bold]rate[/bold]",
        f"{report.events_per_second:,.0f}/s end to end, from the front door to the segments",
    )
    if report.shift_weeks:
        figures.add_row("[bold]times[/bold]", f"moved by {report.shift_weeks:,} weeks, so that they end now")
    figures.add_row("[bold]profiles[/bold]", f"{report.profiles:,}")
    figures.add_row("[bold]segments[/bold]", _counts(report.segments))
    figures.add_row("[bold]transitions[/bold]", _counts(report.transitions))
    if report.model:
        figures.add_row("[bold]model[/bold]", report.model)
    became = f"{report.delivered:,} delivered"
    became += f", {report.withdrawn:,} withdrawn" if report.withdrawn else ""
    figures.add_row("[bold]messages[/bold]", f"{_counts(report.messages)}; {became}")
    return figures


def _counts(counts: dict[str, int]) -> Text:
    text = Text()
    for number, (name, count) in enumerate(counts.items()):
        text.append(", " if number else "")
        text.append(f"{name} ", "dim").append(f"{count:,}", "")
    return text


def _story(journey: Journey) -> RenderableType:
    kinds: dict[str, list[str]] = {}
    for kind, value in journey.identifiers:
        kinds.setdefault(kind, []).append(value)
    known = "; ".join(f"{kind} {', '.join(values)}" for kind, values in kinds.items())
    story = pairs()
    story.columns[0].no_wrap = True
    story.add_row("[bold]who[/bold]", Text(f"{known} ({journey.event_count} events)"))
    for index, (time, name, about) in enumerate(journey.events):
        label = "[bold]what happened[/bold]" if index == 0 else ""
        story.add_row(label, Text.assemble((f"{time}  ", "dim"), f"{name}  ", (about, "dim")))
    story.add_row("[bold]decided by[/bold]", journey.cause)
    story.add_row("[bold]is in[/bold]", ", ".join(journey.segments) or "no segment")
    liked = ", ".join(f"{name} [dim]({reason})[/dim]" for name, reason in journey.recommendations)
    story.add_row("[bold]may like[/bold]", f"{liked}  [dim]model {journey.model_version}[/dim]")
    story.add_row("[bold]got[/bold]", Text(f"“{journey.subject}” at {journey.to}"))
    made = f"campaign {journey.campaign_id}, template {journey.template}, {journey.delivery}"
    story.add_row("", f"[dim]{made}, {journey.latency_seconds:.2f} s after it was decided[/dim]")
    for index, hop in enumerate(journey.hops):
        label = "[bold]traced[/bold]" if index == 0 else ""
        took = f"+{hop.after_seconds * 1000:,.0f} ms, took {hop.seconds * 1000:,.1f} ms"
        story.add_row(label, Text.assemble(f"{hop.service:<10}{hop.name}  ", (took, "dim")))
    return Group(Text("One customer's journey", "bold underline"), story)
