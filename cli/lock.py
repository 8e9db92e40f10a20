"""One `tessera up` a home: a lock that the system drops when its holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from libs.errors import FailedPrecondition


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock, or raise FailedPrecondition with the id of the process that does."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise FailedPrecondition(
                f"Tessera runs here already (process {holder}, home {path.parent}).\n"
                "Stop it first, or give this one another home: tessera up --home DIR --port-base 9000",
                process_id=holder,
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def holder_of(path: Path) -> int | None:
    """The process that holds the lock; None where nobody does, whatever the file says."""
    with suppress(FileNotFoundError), path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read().strip()
            return int(text) if text.isdigit() else 0
    return None
