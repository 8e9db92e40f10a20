"""`make bench`: runs the benchmarks and prints their figures beside the yardstick's."""

import argparse
import asyncio

from rich.console import Console
from rich.table import Table

from bench import pipeline, yardstick

_MS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="events of a throughput run")
    parser.add_argument("--rounds", type=int, default=3, help="throughput runs, each beside the yardstick's")
    parser.add_argument(
        "--latency", type=float, default=20, help="seconds of the latency run; 0 leaves it out"
    )
    arguments = parser.parse_args()
    console = Console()
    console.print(throughput_table(arguments.events, arguments.rounds))
    if arguments.latency:
        found = asyncio.run(pipeline.latency(arguments.latency))
        shares = ", ".join(f"p{s:.0%} {pipeline.percentile(found, s) * _MS:.1f}" for s in (0.5, 0.9, 0.99))
        console.print(f"event acknowledged to membership readable, 500 events/s, ms: {shares} ({len(found)})")


def throughput_table(events: int, rounds: int) -> Table:
    """Ours and the yardstick in turn, since the machine's speed drifts."""
    table = Table(title=f"ingest to membership, {events:,} events, 100 segments")
    for column in ("round", "events/s", "acknowledged/s", "yardstick", "ratio", "CPU µs an event", "MB"):
        table.add_column(column)
    ratios = []
    for number in range(1, rounds + 1):
        yard = yardstick.events_per_second(events)
        ours = asyncio.run(pipeline.throughput(events))
        if yard:
            ratios.append(ours.events_per_second / yard)
        table.add_row(
            str(number),
            f"{ours.events_per_second:,.0f}",
            f"{ours.acknowledged_per_second:,.0f}",
            f"{yard:,.0f}" if yard else "-",
            f"{ratios[-1]:.2f}" if yard else "-",
            ", ".join(f"{name} {cpu:.0f}" for name, cpu in ours.cpu_us_per_event.items()),
            f"{ours.memory_bytes / 1e6:.0f}",
        )
    if ratios:
        table.caption = f"median ratio {pipeline.median(ratios):.2f}"
    return table


if __name__ == "__main__":
    main()
