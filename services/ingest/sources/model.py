"""A source, its keys and what its settings were. Times are microseconds since 1970."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# One, and one more while clients change from the one to the other.
MOST_KEYS: Final = 2


@dataclass(frozen=True, slots=True)
class Key:
    """What clients authenticate with."""

    key_id: str
    write_key: str = field(repr=False)
    created: int = 0
    request_id: str = ""
    """The request that added it; empty where it had no name."""


@dataclass(frozen=True, slots=True)
class Source:
    """A place where events come from."""

    source_id: str
    trusted: bool
    """A server; False for a browser, whose key is public."""
    default_consent: Mapping[str, bool] = field(default_factory=dict)
    display_name: str = ""
    keys: tuple[Key, ...] = ()
    """Oldest first."""
    version: int = 1
    created: int = 0
    updated: int = 0
    request_id: str = ""
    """The request that made it; empty where it had no name."""


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """A source's settings as they were from a time on."""

    version: int
    display_name: str
    default_consent: Mapping[str, bool]
    since: int
