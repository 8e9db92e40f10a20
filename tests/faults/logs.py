"""Whether an outage floods the log."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from tests.faults.run import Hit

MOST_A_SECOND = 20.0
"""Lines, averaged over an outage; a short one counts as five seconds, since starting takes lines too."""
MOST_ALIKE = 30
"""Warnings and errors of one process in one outage that say the same but for numbers."""
_LEAST_SECONDS = 5.0
_NUMBER = re.compile(r"[0-9a-f]{8,}|[0-9]+(\.[0-9]+)?")
_ENDED = re.compile(r".* ended with code ")
_OURS = frozenset({"timestamp", "level", "service", "event", "logger"})


def floods(files: Iterable[Path], hits: Sequence["Hit"]) -> tuple[list[str], Mapping[str, float]]:
    """What flooded, in words; and by kind of fault the most lines a second."""
    lines = [(_time_of(line), line) for file in files for line in lines_of(file)]
    problems = []
    most: dict[str, float] = {}
    for hit in hits:
        during = [line for at, line in lines if hit.at <= at <= hit.ready]
        rate = len(during) / max(hit.ready - hit.at, _LEAST_SECONDS)
        most[hit.kind] = max(most.get(hit.kind, 0.0), rate)
        if rate > MOST_A_SECOND:
            problems.append(f"{hit.kind}: {rate:.0f} lines a second")
        bad = (line for line in during if line["level"] not in ("debug", "info"))
        alike = Counter(map(_alike, bad)).most_common(1)
        problems += [f"{hit.kind}: {n} times {line}" for line, n in alike if n > MOST_ALIKE]
    return problems, most


def ended_by_themselves(files: Iterable[Path], since: float) -> list[str]:
    """The supervisors' lines, from a time on, of processes that ended though nobody had killed them."""
    lines = (line for file in files for line in lines_of(file) if _time_of(line) >= since)
    return [line["event"] for line in lines if _ENDED.match(line["event"])]


def lines_of(file: Path, position: int = 0) -> list[dict[str, Any]]:
    """The complete lines of a log from a byte on; what is no JSON is an interpreter's last words."""
    text = file.read_bytes()[position:]
    complete = text[: text.rfind(b"\n") + 1].splitlines()
    return [orjson.loads(line) for line in complete if line.startswith(b"{")]


def _time_of(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def _alike(line: Mapping[str, Any]) -> str:
    """What a line says, without its numbers."""
    values = {name: value for name, value in line.items() if name not in _OURS}
    said = _NUMBER.sub("#", f"{line['event']} {values}")
    return f"{line['service']} {said}"[:200]
