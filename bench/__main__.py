"""`make bench`: runs the benchmarks and prints their figures beside the goals and the yardstick's.

`ARGS="rate latency"` runs some of them alone; all of them take about half an hour.
"""

import argparse
import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench import demo, large_person, messages, pipeline, yardstick
from bench import singles as one_by_one
from libs import rpc

_MS = 1000
_MB = 1_000_000


class Row(NamedTuple):
    """One figure."""

    what: str
    least: str
    aim: str
    figure: str


def rate(a: argparse.Namespace) -> Iterator[Row]:
    """Ingest to membership, ours and the yardstick in turn, since the machine's speed drifts."""
    ratios, rates, costs = [], [], ""
    for _ in range(a.rounds):
        yard = yardstick.events_per_second(a.events)
        ours = asyncio.run(pipeline.throughput(a.events))
        rates.append(f"{ours.events_per_second:,.0f} of {yard or 0:,.0f}/s")
        costs = ", ".join(f"{name} {cpu:.0f}" for name, cpu in ours.cpu_us_per_event.items())
        if yard:
            ratios.append(ours.events_per_second / yard)
    ratio = f"{pipeline.median(ratios):.2f} ({'; '.join(rates)})" if ratios else "; ".join(rates)
    yield Row("ingest → profile → segment, × the yardstick", "0.42", "0.6", ratio)
    yield Row("CPU µs an event, the last round", "", "", costs)


def kafka(a: argparse.Namespace) -> Iterator[Row]:
    """The same through Kafka, in turn with the embedded log."""
    ratios, rates = [], []
    for _ in range(a.rounds):
        embedded = asyncio.run(pipeline.throughput(a.events)).events_per_second
        there = asyncio.run(pipeline.throughput(a.events, log="kafka")).events_per_second
        ratios.append(there / embedded)
        rates.append(f"{there:,.0f} of {embedded:,.0f}/s")
    yield Row(
        "through Kafka, × embedded", "0.77", "> 1", f"{pipeline.median(ratios):.2f} ({'; '.join(rates)})"
    )


def latency(a: argparse.Namespace) -> Iterator[Row]:
    """From the acknowledgement to the membership that a call returns, under a steady load."""
    found = asyncio.run(pipeline.latency(a.seconds))
    yield Row(
        "accepted → membership readable, 500 events/s, ms", "p50 25, p99 100", "p50 8, p99 30", _shares(found)
    )


def delays(a: argparse.Namespace) -> Iterator[Row]:
    """From a cause to its message."""
    found = asyncio.run(messages.delays(a.seconds))
    yield Row("trigger due → message at a connector, ms", "p99 1,000", "p99 200", _shares(found.trigger))
    yield Row(
        "accepted → message at a connector (segment entry), ms", "p99 500", "p99 100", _shares(found.entry)
    )


def profiles(a: argparse.Namespace) -> Iterator[Row]:
    """The rate with a million profiles there, and with ten thousand."""
    few = asyncio.run(pipeline.throughput_of_known(a.events, 10_000)).events_per_second
    many = asyncio.run(pipeline.throughput_of_known(a.events, 1_000_000)).events_per_second
    figure = f"{many / few:.2f} ({many:,.0f} of {few:,.0f}/s)"
    yield Row("1,000,000 profiles, × the rate at 10,000", "0.6", "0.9", figure)


def large(_: argparse.Namespace) -> Iterator[Row]:
    """One event of somebody with very many."""
    many, few = rpc.run(large_person.cost_of_an_event(10_000))
    figure = f"{many / few:.2f} ({many:,.0f} and {few:,.0f} µs of processor)"
    yield Row("one event of a person with 10,000, × one of a person with 10", "2", "1.1", figure)


def singles(a: argparse.Namespace) -> Iterator[Row]:
    """Single events by HTTP, at 256 connections; beside another checkout where one is named."""
    ratios, rates = [], []
    for _ in range(a.rounds):
        before = one_by_one.singles(256, a.seconds / 3, a.against) if a.against else None
        ours = one_by_one.singles(256, a.seconds / 3)
        rates.append(f"{ours:,.0f} of {before:,.0f}/s" if before else f"{ours:,.0f}/s")
        if before:
            ratios.append(ours / before)
    figure = f"{pipeline.median(ratios):.2f} ({'; '.join(rates)})" if ratios else "; ".join(rates)
    yield Row("singles at 256 connections, × the checkout --against", "1.3", "2", figure)


def memory(a: argparse.Namespace) -> Iterator[Row]:
    """What all processes hold together."""
    rest, after = asyncio.run(pipeline.memory(1_000_000))
    yield Row("memory at rest, MB", "600", "400", f"{rest / _MB:,.0f}")
    more = f"+ {after / rest - 1:.0%} ({after / _MB:,.0f} MB)"
    yield Row("memory after 1,000,000 events", "+ 40 %", "+ 10 %", more)


def demos(a: argparse.Namespace) -> Iterator[Row]:
    """The demo over the sample shop and over Online Retail."""
    yield Row("demo, sample shop, environment set up, s", "60", "30", f"{demo.sample_shop():.1f}")
    if found := demo.online_retail():
        seconds, per_second = found
        yield Row(
            "Online Retail, replay to last membership, s", "180", "60", f"{seconds:.1f} ({per_second:,.0f}/s)"
        )


BENCHMARKS: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    each.__name__: each for each in (rate, kafka, latency, delays, profiles, large, singles, memory, demos)
}


def _shares(found: list[float]) -> str:
    shares = ", ".join(f"p{s * 100:.0f} {pipeline.percentile(found, s) * _MS:,.1f}" for s in (0.5, 0.9, 0.99))
    return f"{shares} ({len(found)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "benchmark", nargs="*", help=f"some of: {', '.join(BENCHMARKS)}; all when none is named"
    )
    parser.add_argument("--events", type=int, default=200_000, help="events of a throughput run")
    parser.add_argument("--rounds", type=int, default=3, help="throughput runs, each beside the yardstick's")
    parser.add_argument("--seconds", type=float, default=30, help="seconds of a run under a steady load")
    parser.add_argument("--against", type=Path, help="singles: a checkout of an earlier state, set up")
    arguments = parser.parse_args()
    if unknown := set(arguments.benchmark) - set(BENCHMARKS):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    table = Table("what", "at least", "aim", "measured", title="Tessera's benchmarks")
    console = Console()
    for name in arguments.benchmark or BENCHMARKS:
        for row in BENCHMARKS[name](arguments):
            console.print(f"{row.what}: {row.figure}", highlight=False)
            table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
