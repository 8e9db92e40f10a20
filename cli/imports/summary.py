"""What became of a file."""

from dataclasses import dataclass, field
from typing import NamedTuple

_KEPT = 1000


class Refused(NamedTuple):
    """A row that was not imported, or not whole."""

    line: int
    reason: str


@dataclass(slots=True)
class Summary:
    """What became of a file: each of its `lines` that holds anything is `accepted` or `rejected`."""

    file: str
    source: str
    operation_id: str = ""
    """The import by which others can watch and cancel it; empty where nothing was sent."""
    lines: int = 0
    accepted: int = 0
    rejected: int = 0
    seconds: float = 0.0
    columns_left_out: list[str] = field(default_factory=list)
    rejections: list[Refused] = field(default_factory=list)
    """The first thousand."""
    warned: int = 0
    """How many accepted rows had something left out, such as an address that is none."""
    warnings: list[Refused] = field(default_factory=list)
    """The first thousand."""

    def refuse(self, line: int, reason: str) -> None:
        """Count a row, and keep it while there are few."""
        self.rejected += 1
        if len(self.rejections) < _KEPT:
            self.rejections.append(Refused(line, reason))

    def warn(self, line: int, reason: str) -> None:
        """Count what was left out of a row, and keep it while there is little."""
        self.warned += 1
        if len(self.warnings) < _KEPT:
            self.warnings.append(Refused(line, reason))
