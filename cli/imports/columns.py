"""What the columns of a CSV file mean: targets, types, consent.

A value stays the text that it is in the file: `1.10` is a version and `007` a number of a house as often as
not. Only a column that `--type` names becomes a number or a boolean, and what does not fit costs its row.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from libs.errors import Invalid

PLAIN = (
    "type",
    "event",
    "name",
    "timestamp",
    "messageId",
    "userId",
    "anonymousId",
    "previousId",
    "groupId",
    "email",
    "phone",
)
_OBJECTS = ("properties", "traits", "context")
_CONSENT, _REFUSAL = "consent", "refusal"
_TYPES = ("number", "boolean")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WHO = frozenset({"userId", "anonymousId", "email", "phone"})
_YES = frozenset({"true", "yes", "1"})
_NO = frozenset({"false", "no", "0"})
# Names of columns that hold, in some shop system or other, what a person allows.
_LIKE_CONSENT = re.compile(
    r"consen[ts]|opt(ed)?.?(in|out)|subscri|unsub|newsletter|marketing|permission|gdpr|rgpd|dsgvo|suppress"
    r"|black.?list|block.?list|do.?not|^dn[cde]$|bounce|complain|spam"
    r"|(?<![a-z])(accept|allow|may|can|ok|no|never|stop|receive|want)(s|ed)?[\W_]?(to)?[\W_]?"
    r"((e.?)?mail|sms|contact|track|call)|mail[\W_]?(ok|allowed|permitted|erlaubt)"
    r"|einwillig|zustimm|widerruf|widerspr|abgemeldet|abbestell|(?<![a-z])werb(ung|e(?!r))"
    r"|(mail|kontakt).?sperre|abonn|desinscri|(?<![a-z])baja(?![a-z])|afgemeld|uitgeschreven|toestemming|samty[ck]k?e|zgod"
)
_HUMP = re.compile("(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was said about the columns on the command line, each as `target=…`."""

    maps: Sequence[str] = ()
    sets: Sequence[str] = ()
    types: Sequence[str] = ()
    ignored: Sequence[str] = ()
    """Columns that are left out on purpose."""
    yes: Sequence[str] = ()
    """Words that mean it, beside true, yes and 1."""
    no: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Mapped:
    """How a row becomes a call."""

    places: Mapping[str, int]
    """By target, such as `userId` or `properties.revenue`: the place of its column."""
    constants: Mapping[str, str]
    """Targets that are the same in every row, such as `event`."""
    types: Mapping[str, str]
    yes: frozenset[str]
    no: frozenset[str]
    unnamed: Sequence[int]
    """The places of columns without a name, which must be empty."""
    unused: Sequence[str]
    """The columns that are not imported."""

    def call(self, values: Sequence[str]) -> dict[str, Any]:
        """The row as a Segment call, with `consent` by purpose; Invalid names the target that is wrong."""
        for place in self.unnamed:
            if values[place].strip():
                raise Invalid(f"column {place + 1}", f"has no name, but holds {values[place]!r}")
        texts = {target: values[place] for target, place in self.places.items()} | dict(self.constants)
        call: dict[str, Any] = {}
        for target, text in texts.items():
            if not text.strip():
                continue
            outer, _, inner = target.partition(".")
            if outer in (_CONSENT, _REFUSAL):
                self._consent(call, outer, inner, text)
            elif inner:
                _put(call, target, self._typed(target, text))
            else:
                call[target] = text.strip()
        if "timestamp" not in call and any(call.get(_CONSENT, {}).values()):
            raise Invalid("timestamp", "is empty: nobody knows whether this consent was withdrawn since")
        return call

    def note_numbers(self, values: Sequence[str], seen: dict[str, bool]) -> None:
        """Remember which properties, that stay texts, have had nothing but numbers so far."""
        for target, place in self.places.items():
            text = values[place].strip()
            if text and target.startswith("properties.") and target not in self.types:
                seen[target] = seen.get(target, True) and bool(_NUMBER.fullmatch(text))

    def _consent(self, call: dict[str, Any], kind: str, purpose: str, text: str) -> None:
        said = self._boolean(f"{kind}.{purpose}", text)
        stated = call.setdefault(_CONSENT, {})
        if kind == _CONSENT:
            stated[purpose] = said and stated.get(purpose, True)
        elif said:
            # Who has not refused has not therefore consented.
            stated[purpose] = False

    def _typed(self, target: str, text: str) -> object:
        kind = self.types.get(target)
        if kind == "boolean":
            return self._boolean(target, text)
        if kind == "number":
            number = text.strip()
            if not _NUMBER.fullmatch(number):
                raise Invalid(target, f"is not a number such as 1299.5: {text!r}")
            # With the digits that it has: as a float it would lose those past the sixteenth.
            return orjson.Fragment(number)
        return text

    def _boolean(self, target: str, text: str) -> bool:
        word = text.strip().lower()
        if word in self.yes:
            return True
        if word in self.no:
            return False
        raise Invalid(
            target,
            f"is neither yes (true, 1) nor no (false, 0): {text!r}; "
            "--yes and --no name words that mean it, such as --yes ja --no nein",
        )


def mapping(header: Sequence[str], asked: Asked = Asked()) -> Mapped:
    """Match columns and targets; a column with a target's own name needs no `--map`."""
    columns = [name.strip() for name in header]
    _check_header(columns)
    chosen = dict(_pair("--map", text) for text in asked.maps)
    constants = dict(_pair("--set", text) for text in asked.sets)
    named = {name: name for name in columns if _is_target(name)}
    taken = {target: name for target, name in {**named, **chosen}.items() if name not in asked.ignored}
    _check_named("--map", chosen.values(), columns)
    _check_named("--ignore", asked.ignored, columns)
    if not _WHO & (taken.keys() | constants.keys()):
        raise Invalid(
            "--map",
            "says who did it by no column: map one to userId, anonymousId, email or phone, such as "
            f"--map userId={next(filter(None, columns), '')}",
        )
    unused = [name for name in columns if name and name not in taken.values()]
    _check_consent([name for name in unused if name not in asked.ignored])
    targets = taken.keys() | constants.keys()
    _check_grants(targets)
    _check_nesting(targets)
    return Mapped(
        places={target: columns.index(name) for target, name in taken.items()},
        constants=constants,
        types=_types(asked.types, targets),
        yes=_YES | {word.strip().lower() for word in asked.yes},
        no=_NO | {word.strip().lower() for word in asked.no},
        unnamed=[place for place, name in enumerate(columns) if not name],
        unused=unused,
    )


def _check_header(columns: Sequence[str]) -> None:
    if not any(columns):
        raise Invalid("FILE", "has no first line that names its columns")
    for place, name in enumerate(columns):
        if name and name in columns[:place]:
            first = columns.index(name) + 1
            raise Invalid("FILE", f"columns {first} and {place + 1} are both named {name!r}: rename one")


def _check_named(option: str, names: Iterable[str], columns: Sequence[str]) -> None:
    for name in names:
        if name not in columns:
            there = ", ".join(filter(None, columns))
            raise Invalid(option, f"the file has no column {name!r}; it has {there}")


def _check_consent(left_out: Iterable[str]) -> None:
    for name in left_out:
        if _LIKE_CONSENT.search(_plain(name)) or _LIKE_CONSENT.search(_plain(_HUMP.sub("_", name))):
            raise Invalid(
                "--map",
                f"the column {name!r} seems to say what people allow, and would be left out: take it with "
                f"--map 'consent.email_marketing={name}' (yes grants, no refuses) or --map "
                f"'refusal.email_marketing={name}' (yes refuses), or leave it out with --ignore '{name}'",
            )


def _plain(name: str) -> str:
    """Without case and accents: `Désinscrit` is `desinscrit`, however the accent is written."""
    letters = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).lower()


def _check_grants(targets: Iterable[str]) -> None:
    if "timestamp" not in targets and any(target.startswith(f"{_CONSENT}.") for target in targets):
        raise Invalid(
            "--set",
            "the file grants consent, but nothing says as of when: whoever withdrew it since would be mailed "
            "again; --set timestamp=2026-01-31 says when the file was written, or map a column to timestamp",
        )


def _check_nesting(targets: Iterable[str]) -> None:
    for target in targets:
        outer = [other for other in targets if target.startswith(f"{other}.") and other not in PLAIN]
        if outer:
            raise Invalid("--map", f"{outer[0]} can't be a value of its own and hold {target}, too")


def _types(types: Iterable[str], targets: Iterable[str]) -> dict[str, str]:
    found = {}
    for text in types:
        target, kind = _pair("--type", text)
        if kind not in _TYPES:
            raise Invalid("--type", f"is target=number or target=boolean, not {text!r}")
        if target.partition(".")[0] not in _OBJECTS:
            raise Invalid("--type", f"{target} is always a text: only {', '.join(_OBJECTS)} have types")
        if target not in targets:
            raise Invalid("--type", f"no column is mapped to {target}")
        found[target] = kind
    return found


def _pair(option: str, text: str) -> tuple[str, str]:
    target, equals, value = text.partition("=")
    if not equals or not value:
        raise Invalid(option, f"is target=…, such as userId=CustomerID, not {text!r}")
    if target.startswith("context.consent"):
        raise Invalid(option, f"{target} is written consent.<purpose>, such as consent.email_marketing")
    if not _is_target(target):
        objects = ", ".join(f"{name}.…" for name in (*_OBJECTS, _CONSENT, _REFUSAL))
        raise Invalid(option, f"{target!r} is none of {', '.join(PLAIN)}, {objects}")
    return target, value


def _is_target(name: str) -> bool:
    outer, dot, inner = name.partition(".")
    if outer in (_CONSENT, _REFUSAL):
        return bool(inner)
    return bool(outer in _OBJECTS and dot and all(inner.split("."))) or name in PLAIN


def _put(call: dict[str, Any], target: str, value: object) -> None:
    """Set a value at its place: `traits.address.city` is the city in the address in the traits."""
    *outer, last = target.split(".")
    inside = call
    for name in outer:
        inside = inside.setdefault(name, {})
    inside[last] = value
