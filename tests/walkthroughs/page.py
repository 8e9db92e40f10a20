"""Reads the blocks of a page: commands, what they print, and files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands for the page's shell; with `until` they are tried again until they print what is expected."""

    line: int
    text: str
    until: bool
    expected: str | None
    """What stands below them; `...` stands for anything. None where nothing is said."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that the reader saves in the shell's folder."""

    line: int
    name: str
    text: str


def blocks(path: Path) -> Iterator[Commands | File]:
    """What a reader of the page would do, in order.

    ```sh runs, ```sh until runs again until the output fits, ```text right below is that output, and
    ```python file=NAME (or any other language) is saved. Other blocks are only shown.
    """
    page = path.read_text()
    fences = list(_FENCE.finditer(page))
    for number, fence in enumerate(fences):
        info, body = fence["info"].split(), fence["body"]
        line = page.count("\n", 0, fence.start()) + 1
        if info[:1] == ["sh"]:
            below = fences[number + 1] if number + 1 < len(fences) else None
            # Only what follows at once is the output of these commands.
            adjacent = below is not None and not page[fence.end() : below.start()].strip()
            shown = below["body"] if below is not None and adjacent and below["info"] == "text" else None
            yield Commands(line, body, "until" in info, shown)
        elif names := [word.removeprefix("file=") for word in info if word.startswith("file=")]:
            yield File(line, names[0], body)
