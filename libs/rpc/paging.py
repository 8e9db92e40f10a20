"""Pages of a list: the size that a caller asks for, and opaque tokens that say where the next page begins."""

import base64
import binascii
from typing import TypeVar

import msgspec

from libs.errors import Invalid

T = TypeVar("T")


def page_size(requested: int, default: int, maximum: int) -> int:
    """Return how many to list: `default` for 0, at most `maximum`. Raises `Invalid` for a negative one."""
    if requested < 0:
        raise Invalid("page_size", "must not be negative")
    return min(requested or default, maximum)


def encode_token(*values: object) -> str:
    """Return a page token that holds the last row's key: strings, numbers, times, UUIDs, bytes."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(values)).rstrip(b"=").decode()


def decode_token(token: str, key: type[T]) -> T | None:
    """Return the key that `encode_token` was given, as `key`, such as `tuple[datetime, str]`; None for "".

    Raises `Invalid` for a token that is not one of this list's.
    """
    if not token:
        return None
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(packed, type=key)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise Invalid("page_token", "is not a token of this list") from error
