"""One log out of many: the services' JSON lines, kept as they are and shown to people in colour."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson
from rich.console import Console
from rich.text import Text

Show = Literal["people", "json", "nothing"]

OURSELVES = "tessera"
_MOST_BYTES = 20_000_000
_COLOURS = {
    "ingest": "cyan",
    "profile": "green",
    "segment": "magenta",
    "recommend": "yellow",
    "render": "blue",
    OURSELVES: "bold",
}
_LEVELS = {"debug": "dim", "warning": "yellow", "error": "bold red", "critical": "bold red"}
_TOLD_ELSEWHERE = frozenset({"timestamp", "level", "event", "logger", "service", "exception", "stack"})
_CHATTY = frozenset({"alembic", "uvicorn"})
_BAD = ("warning", "error", "critical")
_RECENT = 30


def parse(service: str, line: bytes) -> dict[str, Any]:
    """A line as an object; what is no JSON, such as an interpreter's last words, becomes its event."""
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        entry = None
    if not isinstance(entry, dict):
        text = line.decode(errors="replace").rstrip()
        entry = {"timestamp": _now(), "level": "info", "event": text}
    entry["service"] = service
    return entry


def render(entry: dict[str, Any]) -> Text:
    """An entry for people: local time, service, what happened, and the values; a traceback below."""
    service, level = str(entry["service"]), str(entry.get("level", "info"))
    style = _LEVELS.get(level, "")
    text = Text(no_wrap=False, overflow="fold")
    text.append(f"{_clock(entry.get('timestamp'))} ", "dim")
    text.append(f"{service:<9} ", _COLOURS.get(service, ""))
    if level not in ("info", "debug"):
        text.append(f"{level.upper()} ", style)
    text.append(str(entry.get("event", "")), style)
    for name, value in entry.items():
        if name not in _TOLD_ELSEWHERE:
            shown = value if isinstance(value, str) else orjson.dumps(value).decode()
            text.append(f"  {name}=", "dim")
            text.append(shown)
    if trace := entry.get("exception"):
        text.append("\n" + "\n".join(f"    {line}" for line in str(trace).splitlines()), "dim")
    return text


class MergedLog:
    """Takes the lines of all processes: into a file, and onto the console."""

    def __init__(self, file: BinaryIO, console: Console | None, show: Show) -> None:
        self._file = file
        self._console = console
        self._show = show
        self._recent: dict[str, deque[dict[str, Any]]] = {}

    def take(self, service: str, line: bytes) -> None:
        """A line that a process wrote."""
        if line.strip():
            self._put(parse(service, line))

    def say(self, event: str, level: str = "info", **values: object) -> None:
        """Something that the supervisor itself has to tell."""
        self._put({"timestamp": _now(), "level": level, "event": event, "service": OURSELVES, **values})

    def last_words(self, service: str) -> list[Text]:
        """The last errors and warnings of a service, else its last lines: to tell why it does not start."""
        entries = self._recent.get(service, deque())
        bad = [entry for entry in entries if entry.get("level") in _BAD]
        return [render(entry) for entry in (bad or list(entries))[-3:]]

    def complaints(self) -> list[Text]:
        """The last error or warning of each process that had one lately."""
        bad = [
            next((entry for entry in reversed(entries) if entry.get("level") in _BAD), None)
            for entries in self._recent.values()
        ]
        return [render(entry) for entry in bad if entry is not None]

    def _put(self, entry: dict[str, Any]) -> None:
        self._recent.setdefault(str(entry["service"]), deque(maxlen=_RECENT)).append(entry)
        line = orjson.dumps(entry, default=str)
        self._file.write(line + b"\n")
        if self._console is None or self._show == "nothing" or (self._show == "people" and _is_noise(entry)):
            return
        if self._show == "json":
            self._console.file.write(line.decode() + "\n")
            self._console.file.flush()
        else:
            self._console.print(render(entry), soft_wrap=True)


@contextmanager
def open_log(path: Path, console: Console | None, show: Show) -> Iterator[MergedLog]:
    """Append to the log file; one that has grown large is put aside first, in place of the one before."""
    if path.exists() and path.stat().st_size > _MOST_BYTES:
        path.replace(path.with_suffix(".log.1"))
    with path.open("ab", buffering=0) as file:
        path.chmod(0o600)
        yield MergedLog(file, console, show)


class LineSplitter:
    """Cuts a stream of bytes into lines, however long they are."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)

    def finish(self) -> None:
        """The end of the stream: a last line may lack its end."""
        if self._rest:
            self._take(self._rest)
            self._rest = b""


def _is_noise(entry: dict[str, Any]) -> bool:
    """Whether a library tells of its routine: worth a place in the file, not a line on the screen."""
    library = str(entry.get("logger", "")).partition(".")[0]
    return library in _CHATTY and entry.get("level") in ("debug", "info")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _clock(timestamp: object) -> str:
    try:
        time = datetime.fromisoformat(str(timestamp))
    except ValueError:
        return " " * 12
    return f"{time.astimezone():%H:%M:%S}.{time.microsecond // 1000:03d}"
