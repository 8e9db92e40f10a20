"""Ids as callers send them."""

import uuid

from libs.errors import Invalid


def uuid_text(value: str, field: str) -> str:
    """A UUID in its normal form; Invalid names the field where it is none."""
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise Invalid(field, f"{value[:50]!r} is not a UUID") from None
