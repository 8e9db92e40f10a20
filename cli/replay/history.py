"""The histories that can be replayed: the sample shop, and Online Retail where its file is at hand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

from cli.replay import online_retail, retail_file, sample_shop, timeline
from cli.replay.call import SourcedCall
from cli.replay.shop_visits import BACKEND, WEBSITE

Kind = Literal["browser", "server"]


@dataclass(frozen=True, slots=True)
class Source:
    """A source that the calls belong to, to be created before they are sent."""

    source_id: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class History:
    """What can be replayed, and what is to be told of it before."""

    name: str
    sources: tuple[Source, ...]
    examples: Path
    """The folder of its segments, triggers, campaigns and templates."""
    calls: Callable[[], Iterator[SourcedCall]]
    """Begins the history anew."""
    count: int | None = None
    """How many calls there are, where that is known."""
    shift_weeks: int = 0
    """By how many weeks its times have been moved."""
    skipped: retail_file.SkippedLines | None = None
    """The lines left out so far, where it is read from a file."""


def open_history(
    data: Path | None, now: datetime, keep_times: bool = False, seed: int = 1, scale: float = 1.0
) -> History:
    """Opens Online Retail in a data folder, or else the sample shop, so that it ends within the last week.

    `keep_times` leaves Online Retail in its own year; the sample shop has no other time than `now`.
    """
    if data is None:
        return History(
            name="sample shop",
            sources=(Source(WEBSITE, "browser"), Source(BACKEND, "server")),
            examples=sample_shop.EXAMPLES,
            calls=partial(sample_shop.calls, seed, now, scale),
        )
    path = retail_file.find(data)
    summary = online_retail.summarize(path)
    weeks = 0 if keep_times else timeline.weeks_to_shift(summary.last, now)
    skipped = retail_file.SkippedLines()

    def calls() -> Iterator[SourcedCall]:
        return timeline.shift_by_whole_weeks(online_retail.calls(path, skipped), weeks)

    return History(
        name="Online Retail",
        sources=(Source(online_retail.SOURCE, "server"),),
        examples=sample_shop.EXAMPLES.with_name("online-retail"),
        calls=calls,
        count=summary.calls,
        shift_weeks=weeks,
        skipped=skipped,
    )
