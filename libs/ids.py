"""Ids as callers send them, and new ones."""

import os
import time
import uuid

from libs.errors import Invalid

_VARIANT = "89ab"


def uuid_text(value: str, field: str) -> str:
    """A UUID in its normal form; Invalid names the field where it is none."""
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise Invalid(field, f"{value[:50]!r} is not a UUID") from None


def new_uuid() -> str:
    """A UUID of version 7 (RFC 9562): later ones sort behind earlier ones, so indexes grow at their end."""
    time_hex = (time.time_ns() // 1_000_000).to_bytes(6, "big").hex()
    rest = os.urandom(10).hex()
    variant = _VARIANT[int(rest[3], 16) & 3]
    return f"{time_hex[:8]}-{time_hex[8:]}-7{rest[:3]}-{variant}{rest[4:7]}-{rest[7:19]}"
