"""Times as texts and numbers say them. What lacks its year, month or day is none: nobody guesses the rest."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

# Seconds of the year 5138: what is more are milliseconds, as JavaScript counts.
_MOST_SECONDS = 100_000_000_000
# Of a text that counts them: fewer digits are a year, a price, or a number of something.
_LEAST_DIGITS = 9
# More than any day and time without marks between them, such as 20240131120000.
_MOST_STAMP = 1e14
_MOST_TEXT = 100
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
# The zones with names that mails may have.
_HOURS = dict.fromkeys(("", "Z", "UT", "UTC", "GMT"), 0) | {
    name: hours
    for hours, names in ((-4, "EDT"), (-5, "EST CDT"), (-6, "CST MDT"), (-7, "MST PDT"), (-8, "PST"))
    for name in names.split()
}

_YEAR, _MONTH, _DAY = r"(?P<year>[0-9]{4})", r"(?P<month>[0-9]{1,2})", r"(?P<day>[0-9]{1,2})"
_NAME = r"(?P<name>[a-z]{3,9})\.?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}\.?,?\s+)?"
_OFFSET = r"(?:UTC|GMT)?[+-][0-9]{2}(?::?[0-9]{2})?"
_ZONE = rf"(?:\s*(?P<zone>{'|'.join(filter(None, _HOURS))}|{_OFFSET})(?:\s*\(.*\))?)?"
_CLOCK = (
    r"(?:(?:T|,?\s+(?:at\s+)?)(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    rf"(?::(?P<second>[0-9]{{2}})(?:[.,](?P<fraction>[0-9]{{1,9}}))?)?(?:\s?(?P<half>[ap])\.?m\.?)?{_ZONE})?"
)
_STAMP = (
    r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
    rf"(?:T?(?P<hour>[0-9]{{2}})(?P<minute>[0-9]{{2}})(?P<second>[0-9]{{2}}){_ZONE})?"
)
_FORMS = tuple(
    re.compile(rf"\s*(?:{form})\s*", re.IGNORECASE)
    for form in (
        rf"{_YEAR}(?P<mark>[-/.]){_MONTH}(?P=mark){_DAY}{_CLOCK}",
        rf"{_DAY}\.\s?{_MONTH}\.\s?{_YEAR}{_CLOCK}",
        rf"{_WEEKDAY}{_DAY}(?:st|nd|rd|th|\.)?[\s-]{_NAME},?[\s-]{_YEAR}{_CLOCK}",
        rf"{_WEEKDAY}{_NAME}\s{_DAY}(?:st|nd|rd|th)?,?\s{_YEAR}{_CLOCK}",
        _STAMP,
    )
)


def moment_of(value: str | int | float) -> datetime | None:
    """The time that a value says, in the zone that it names, else UTC; None where it says none.

    A number counts seconds or milliseconds since 1970, but one of 8 digits that is a day is that day.
    """
    text = value if isinstance(value, str) else _digits_of(value)
    if len(text) > _MOST_TEXT:
        return None
    if text.strip().lower() in ("now", "today"):
        return datetime.now(UTC)
    for form in _FORMS:
        found = form.fullmatch(text)
        if found is not None:
            moment = _moment_in(found.groupdict())
            if moment is not None:
                return moment
    if isinstance(value, str):
        digits = value.strip()
        is_count = digits.isascii() and digits.isdigit() and len(digits) >= _LEAST_DIGITS
        return _moment_after(int(digits)) if is_count else None
    return _moment_after(value)


def _digits_of(value: int | float) -> str:
    """Empty where they are too many for a day and its time."""
    return str(int(value)) if 0 < value < _MOST_STAMP else ""


def _moment_after(count: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(count / 1000 if abs(count) >= _MOST_SECONDS else count, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _moment_in(parts: Mapping[str, str | None]) -> datetime | None:
    """None where there is no such day or time."""
    try:
        return datetime(
            int(parts["year"] or 0),
            _month(parts),
            int(parts["day"] or 0),
            _hour(parts),
            int(parts.get("minute") or 0),
            int(parts.get("second") or 0),
            int((parts.get("fraction") or "0").ljust(6, "0")[:6]),
            _zone(parts.get("zone") or ""),
        )
    except ValueError:
        return None


def _month(parts: Mapping[str, str | None]) -> int:
    name = (parts.get("name") or "").lower()
    if not name:
        return int(parts["month"] or 0)
    # People write "Sept", too.
    return 1 + next((i for i, month in enumerate(_MONTHS) if month.startswith(name)), len(_MONTHS))


def _hour(parts: Mapping[str, str | None]) -> int:
    hour, half = int(parts.get("hour") or 0), (parts.get("half") or "").lower()
    if not half:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError(hour)
    return hour % 12 + (12 if half == "p" else 0)


def _zone(text: str) -> timezone:
    name = text.upper()
    if name in _HOURS:
        return timezone(timedelta(hours=_HOURS[name]))
    sign, digits = re.sub("[A-Z:]", "", name)[0], re.sub("[^0-9]", "", name).ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if sign == "-" else offset)
