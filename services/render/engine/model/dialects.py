"""Finds what is written in other vendors' languages: in Liquid it would be sent as it stands."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_RAW = r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}"
_COMMENT = r"\{%-?\s*comment\s*-?%\}.*?\{%-?\s*endcomment\s*-?%\}"
_SKIPPED = re.compile(rf"{_RAW}|{_COMMENT}", re.DOTALL)


class Foreign(NamedTuple):
    """Something in another language."""

    at: int
    text: str
    language: str


_FOREIGN = (
    ("AMPscript", re.compile(r"%%=.*?=%%|%%\[.*?\]%%|%%[A-Za-z_][\w .-]*%%", re.DOTALL)),
    ("Mailchimp's language", re.compile(r"\*\|[A-Za-z][^|\n]{0,100}\|\*")),
    ("Braze's language", re.compile(r"\{\{-?\s*\$\{[^}\n]*\}[^}\n]*\}\}|\{%[^%\n]*\$\{[^}\n]*\}[^%\n]*%\}")),
    (
        "Handlebars",
        re.compile(r"\{\{\{[^{}\n]*\}\}\}|\{\{[~-]?\s*(?:[#/^>&][^}\n]*|else|!--.*?--)\s*[~-]?\}\}"),
    ),
    ("ERB", re.compile(r"<%.*?%>", re.DOTALL)),
    ("Jinja", re.compile(r"\{#.*?#\}", re.DOTALL)),
    ("Mailgun's language", re.compile(r"%recipient\.\w+%")),
)


def foreign_in(source: str) -> Foreign | None:
    """The first thing in another language, outside of `raw` and comments; None where all is Liquid."""
    # As long as before, so that places stay what they are.
    bare = _SKIPPED.sub(lambda skipped: re.sub(r"[^\n]", " ", skipped[0]), source)
    return min(_matches(bare), default=None)


def _matches(source: str) -> Iterator[Foreign]:
    for language, pattern in _FOREIGN:
        found = pattern.search(source)
        if found is not None:
            yield Foreign(found.start(), found[0], language)
