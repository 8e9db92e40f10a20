"""Pages of a list: the size that a caller asks for, and opaque tokens that say where the next page begins."""

import base64
import binascii
import hashlib
from typing import Final, TypeVar

import msgspec

from libs.errors import Invalid, Malformed
from libs.ids import uuid_text

T = TypeVar("T")

_NIL: Final = "00000000-0000-0000-0000-000000000000"
_MARK_BYTES: Final = 4


class InvalidPageToken(Malformed):
    """The token is not one of this list's."""

    reason = "INVALID_PAGE_TOKEN"


def page_size(requested: int, default: int, maximum: int) -> int:
    """Return how many to list: `default` for 0, at most `maximum`. Raises `Invalid` for a negative one."""
    if requested < 0:
        raise Invalid("page_size", "must not be negative")
    return min(requested or default, maximum)


def encode_token(of: str, *values: object) -> str:
    """Return a page token that holds the last row's key: strings, numbers, times, UUIDs, bytes.

    `of` names the list, with all that chooses what is in it, such as `members/vip`.
    """
    return base64.urlsafe_b64encode(_mark(of) + msgspec.msgpack.encode(values)).rstrip(b"=").decode()


def decode_token(token: str, of: str, key: type[T]) -> T | None:
    """Return the key that `encode_token` was given, as `key`, such as `tuple[datetime, str]`; None for "".

    Raises `InvalidPageToken` for a token that is not one of this list's.
    """
    if not token:
        return None
    try:
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if packed[:_MARK_BYTES] != _mark(of):
            raise ValueError("another list's")
        return msgspec.msgpack.decode(packed[_MARK_BYTES:], type=key)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise InvalidPageToken(
            "page_token",
            "is not a token of this list; take `next_page_token` of the same request's last page",
        ) from error


def uuid_behind(token: str, of: str) -> str:
    """The UUID behind which a page of a list by UUID begins: the nil UUID for the first page."""
    (last,) = decode_token(token, of, tuple[str]) or ("",)
    return uuid_text(last, "page_token") if last else _NIL


def _mark(of: str) -> bytes:
    # A key of one list would be a place in another, too: rows would be skipped without a word.
    return hashlib.blake2b(of.encode(), digest_size=_MARK_BYTES).digest()
