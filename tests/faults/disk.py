"""A disk so small that a test can fill it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

MEGABYTES = 640
_BALLAST = "ballast"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own at `folder`. Says so aloud where mounting is forbidden, and fails in CI."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=711", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"a disk can't be filled here, since mounting needs root: {done.stderr.strip()}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield folder
    finally:
        # Lazily: what an aborted test has left running may still have files open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Take all the space that is left."""
    with (folder / _BALLAST).open("ab") as file, suppress(OSError):  # somebody else takes some, too
        while free := os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize:
            os.posix_fallocate(file.fileno(), file.tell(), free)
            file.seek(0, os.SEEK_END)


def empty(folder: Path) -> None:
    """Give the space back."""
    (folder / _BALLAST).unlink()
