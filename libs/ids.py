"""Ids as callers send them, and new ones."""

import os
import time
import uuid
from collections.abc import Sequence

from libs.errors import Malformed, Required, TooLarge

_VARIANT = "89ab"
_MOST_REQUEST_ID = 100


def uuid_text(value: str, field: str) -> str:
    """A UUID in its normal form; Invalid names the field where it is none."""
    if not value:
        raise Required(field, "is required")
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise Malformed(field, f"{value[:50]!r} is not a UUID") from None


def uuid_texts(values: Sequence[str], field: str, most: int) -> list[str]:
    """From 1 to `most` UUIDs in their normal form; Invalid names the one that is none."""
    if not values:
        raise Required(field, f"must hold from 1 to {most:,} ids, not 0")
    if len(values) > most:
        raise TooLarge(field, f"must hold from 1 to {most:,} ids, not {len(values):,}")
    return [uuid_text(value, f"{field}[{place}]") for place, value in enumerate(values)]


def check_request_id(value: str) -> None:
    """Refuse what can't name a request: more than 100 characters, or such as can't be printed."""
    if len(value) > _MOST_REQUEST_ID:
        raise TooLarge("request_id", f"has more than {_MOST_REQUEST_ID} characters")
    if not value.isprintable():
        raise Malformed("request_id", "has characters that can't be printed")


def new_uuid() -> str:
    """A UUID of version 7 (RFC 9562): later ones sort behind earlier ones, so indexes grow at their end."""
    time_hex = (time.time_ns() // 1_000_000).to_bytes(6, "big").hex()
    rest = os.urandom(10).hex()
    variant = _VARIANT[int(rest[3], 16) & 3]
    return f"{time_hex[:8]}-{time_hex[8:]}-7{rest[:3]}-{variant}{rest[4:7]}-{rest[7:19]}"
