"""Reads a file twice: to know it whole before anything is sent, then batch by batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cli.imports.events import Line
from cli.imports.files import open_file
from cli.imports.shared_addresses import SharedAddresses
from cli.imports.summary import Summary

_BATCH_EVENTS = 1000
# The server takes 4 MB at once.
_BATCH_BYTES = 3_000_000

Moved = Callable[[int], None]
"""Hears how many bytes of the file are read."""


@dataclass(slots=True)
class File:
    """A file of events; what is none is counted and told."""

    path: Path
    read: Callable[[IO[bytes]], Iterator[Line]]
    summary: Summary
    shared: SharedAddresses = field(default_factory=SharedAddresses)
    rows: int = 0

    def look_through(self, moved: Moved) -> None:
        """Read all of it: how many rows it has, and which addresses belong to several people."""
        with open_file(self.path) as (raw, unpacked):
            for line in self.read(unpacked):
                self.shared.note(line)
                if self.rows % _BATCH_EVENTS == 0:
                    moved(raw.tell())
                self.rows += 1

    def batches(self, moved: Moved) -> Iterator[list[Line]]:
        """What is to be sent, in batches that the server takes."""
        with open_file(self.path) as (raw, unpacked):
            batch: list[Line] = []
            size = 0
            for line in self._events(unpacked):
                assert line.event is not None
                more = line.event.ByteSize()
                if batch and (len(batch) == _BATCH_EVENTS or size + more > _BATCH_BYTES):
                    yield batch
                    moved(raw.tell())
                    batch, size = [], 0
                batch.append(line)
                size += more
            if batch:
                yield batch

    def check(self, moved: Moved) -> None:
        """Count what would be sent."""
        for batch in self.batches(moved):
            self.summary.accepted += len(batch)
            for line in batch:
                tell_left_out(line, self.summary)

    def _events(self, unpacked: IO[bytes]) -> Iterator[Line]:
        for line in self.read(unpacked):
            self.summary.lines += 1
            problem = line.problem or self.shared.problem(line)
            if problem:
                self.summary.refuse(line.number, problem)
            else:
                yield line


def tell_left_out(line: Line, summary: Summary) -> None:
    """Tell what of a row is not sent."""
    for one in line.left_out:
        summary.warn(line.number, f"{one.field}: {one.reason}")
