"""The results as a table: `make faults` writes them, docs/faults.md shows them."""

import json
import statistics
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.checks import CHECKS
from tests.faults.run import Report

_ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = _ROOT / "docs" / "faults.jsonl"
PAGE = _ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- results: written by `make faults` -->\n", "<!-- end of the results -->\n"
_CHECKS = (*CHECKS, "load", "alive", "ready", "log")
_LOGS = {"embedded": "PostgreSQL", "production": "Kafka"}


def rows_of(report: Report) -> list[dict[str, Any]]:
    """One row for each kind of fault of a run; what was checked at its end counts for each of them."""
    rows = []
    for kind in dict.fromkeys(hit.kind for hit in report.hits):
        hits = [hit for hit in report.hits if hit.kind == kind]
        rows.append(
            {
                "fault": kind,
                "log": _LOGS[report.system],
                "runs": len(hits),
                "recovery": sorted(round(hit.recovery, 2) for hit in hits),
                "down": sorted(round(hit.back - hit.at, 2) for hit in hits),
                "events": report.compared["events"],
                "messages": report.compared["messages"],
                "lines": round(report.most_lines[kind], 1),
                "failed": sorted(report.failures),
                "date": datetime.now(UTC).date().isoformat(),
            }
        )
    return rows


def keep(report: Report) -> None:
    """Add a run to the results, in place of an earlier one of the same faults."""
    rows = read(RESULTS)
    new = {(row["fault"], row["log"]): row for row in rows_of(report)}
    kept = [row for row in rows if (row["fault"], row["log"]) not in new]
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in [*kept, *new.values()]))
    PAGE.write_text(shown(PAGE.read_text(), read(RESULTS)))


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file; none where there is no file yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def shown(page: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """The page with these results between its marks."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n".join(_lines(rows)) + "\n" + END + rest.partition(END)[2]


def _lines(rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    columns = ("fault", "log", "times", *_CHECKS, "down, s", "ready after, s", "log lines/s", "events", "on")
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for row in sorted(rows, key=lambda row: (row["log"] == "Kafka", row["fault"])):
        checks = ("✗" if name in row["failed"] else "✓" for name in _CHECKS)
        cells = (
            row["fault"],
            row["log"],
            str(row["runs"]),
            *checks,
            _spread(row["down"]),
            _spread(row["recovery"]),
            f"{row['lines']:g}",
            f"{row['events']:,}",
            row["date"],
        )
        yield f"| {' | '.join(cells)} |"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f}, {max(values):.1f}"
