"""Reads segments, triggers, templates and campaigns from a folder of files."""

import re
import tomllib
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from libs.errors import Invalid, NotFound
from tessera.render.v1.campaign_pb2 import Campaign
from tessera.render.v1.template_pb2 import Template
from tessera.segment.v1.segment_pb2 import Segment
from tessera.segment.v1.trigger_pb2 import Trigger

Kind = TypeVar("Kind", bound=Message)

PARTS = ("subject", "preheader", "html", "text")
_NEEDED_PARTS = ("subject", "html")
_FILLED_BY_SERVERS = frozenset({"version", "state", "member_count", "create_time", "update_time", "etag"})
_PICTURES = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "gif": "gif"}
# A path from the folder, as an image's source or as any other text of the template.
_PICTURE = re.compile(
    rf"""((?:\bsrc\s*=\s*)?)(["'])((?![a-z]+:|/)[^"'{{}}<>\s]+\.({"|".join(_PICTURES)}))\2""", re.IGNORECASE
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+)([smhd])")


@dataclass(frozen=True, slots=True)
class Definition(Generic[Kind]):
    """One definition, and where it stands."""

    place: str
    """For people: `segments.toml, segment "lapsed"`."""
    definition_id: str
    message: Kind


@dataclass(frozen=True, slots=True)
class Definitions:
    """All of a folder."""

    segments: list[Definition[Segment]]
    triggers: list[Definition[Trigger]]
    templates: list[Definition[Template]]
    campaigns: list[Definition[Campaign]]


def load(folder: Path) -> Definitions:
    """Read a folder; Invalid names the file and the entry that is wrong."""
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}")
    found = Definitions(
        segments=list(_entries(folder, "segment", Segment)),
        triggers=list(_entries(folder, "trigger", Trigger, _trigger)),
        templates=list(_templates(folder / "templates")),
        campaigns=list(_entries(folder, "campaign", Campaign, _campaign)),
    )
    if not (found.segments or found.triggers or found.templates or found.campaigns):
        raise NotFound(
            f"{folder} holds no definitions: segments.toml, triggers.toml, campaigns.toml, templates/<id>/"
        )
    return found


def _entries(
    folder: Path,
    noun: str,
    kind: Callable[[], Kind],
    prepared: Callable[[dict[str, Any]], dict[str, Any]] = lambda table: table,
) -> Iterator[Definition[Kind]]:
    path = folder / f"{noun}s.toml"
    if not path.exists():
        return
    try:
        content = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(str(path), f"is not valid TOML: {error}") from None
    if unknown := content.keys() - {f"{noun}s"}:
        raise Invalid(str(path), f"holds [[{noun}s]] and nothing else, not {', '.join(sorted(unknown))}")
    seen: set[str] = set()
    for number, table in enumerate(content.get(f"{noun}s", []), 1):
        definition_id = table.get(f"{noun}_id", "")
        place = f'{path}, {noun} "{definition_id}"' if definition_id else f"{path}, {noun} number {number}"
        if not definition_id:
            raise Invalid(place, f"has no {noun}_id")
        if definition_id in seen:
            raise Invalid(place, "is there twice")
        seen.add(definition_id)
        message = kind()
        try:
            _check_fields(message, table)
            ParseDict(prepared(table), message)
        except (ParseError, ValueError) as error:
            raise Invalid(place, str(error)) from None
        yield Definition(place, definition_id, message)


def _check_fields(message: Message, table: dict[str, Any]) -> None:
    """ParseDict would name its own fields, in another spelling and with those that only servers fill."""
    fields = [name for name in message.DESCRIPTOR.fields_by_name if name not in _FILLED_BY_SERVERS]
    if unknown := [name for name in table if name not in fields]:
        raise ValueError(f"there is no field {unknown[0]}; there are {', '.join(fields)}")


def _trigger(table: dict[str, Any]) -> dict[str, Any]:
    mode = table.get("mode", "last_event")
    if mode not in ("last_event", "each_event"):
        raise ValueError(f'mode: must be "last_event" or "each_event", not {mode!r}')
    delay = table.get("delay", "0s" if mode == "each_event" else "")
    return {**table, "delay": _duration("delay", delay), "mode": f"TRIGGER_MODE_{mode.upper()}"}


def _duration(name: str, value: object) -> str:
    """As JSON writes a duration, in seconds."""
    found = _DURATION.fullmatch(str(value))
    if found is None:
        raise ValueError(f'{name}: must be a number with a unit, such as "90s", "5m", "1h" or "30d"')
    return f"{int(found[1]) * _UNITS[found[2]]}s"


def _campaign(table: dict[str, Any]) -> dict[str, Any]:
    stream = table.get("stream", "marketing")
    if stream not in ("marketing", "transactional"):
        raise ValueError(f'stream: must be "marketing" or "transactional", not {stream!r}')
    durations: dict[str, Any] = {
        name: _duration(name, table[name]) for name in ("max_age", "expire_after") if name in table
    }
    return {**table, "stream": f"STREAM_{stream.upper()}", **durations}


def _templates(folder: Path) -> Iterator[Definition[Template]]:
    if not folder.is_dir():
        return
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        parts = {part.stem: part for part in path.glob("*.liquid")}
        if unknown := parts.keys() - set(PARTS):
            raise Invalid(
                str(path), f"has a part that is none of {', '.join(PARTS)}: {', '.join(sorted(unknown))}"
            )
        for name in _NEEDED_PARTS:
            if name not in parts:
                raise Invalid(str(path), f"lacks {name}.liquid")
        texts = {name: part.read_text() for name, part in parts.items()}
        # A final newline is the editor's, and a header must not have one.
        texts |= {name: texts[name].strip() for name in ("subject", "preheader") if name in texts}
        texts["html"] = _with_pictures(texts["html"], folder.parent, str(path))
        template = Template(template_id=path.name)
        for name, text in texts.items():
            setattr(template, name, text)
        yield Definition(str(path), path.name, template)


def _with_pictures(html: str, folder: Path, place: str) -> str:
    """The HTML with the pictures that it names, as files of the folder, inside: mail has no folder."""

    def inside(match: re.Match[str]) -> str:
        source, quote, name, ending = match.groups()
        path = folder / name
        if not path.is_file():
            if source:
                raise Invalid(place, f"html.liquid shows the picture {name}, and there is no file {path}")
            return match[0]
        content = b64encode(path.read_bytes()).decode()
        return f"{source}{quote}data:image/{_PICTURES[ending.lower()]};base64,{content}{quote}"

    return _PICTURE.sub(inside, html)
