"""Writes to a resource: the fields that an update changes, and the etag that tells what it was made from.

Masks follow AIP-134 and AIP-161, etags AIP-154.
"""

import hashlib
from collections.abc import Collection
from typing import Final, TypeVar

import msgspec
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from libs.errors import Conflict, Invalid

M = TypeVar("M", bound=Message)

EVERYTHING: Final = "*"


class EtagMismatch(Conflict):
    """The resource has changed since it was read."""

    reason = "ETAG_MISMATCH"


def updated(stored: M, given: M, mask: FieldMask, updatable: Collection[str]) -> M:
    """Return `stored` with the fields that `mask` names as they are in `given`; neither is changed.

    `updatable` names the fields that a caller may change. A mask of `*` stands for all of them; without
    a mask it is those that are set in `given`. Raises `Invalid` for another field.
    """
    paths = list(mask.paths) or [name for name in updatable if _is_set(given, name)]
    if EVERYTHING in paths:
        paths = list(updatable)
    result = type(stored)()
    result.CopyFrom(stored)
    for path in paths:
        if path not in updatable:
            raise Invalid("update_mask", f"can't change {path!r}; may be changed: {', '.join(updatable)}")
        _take(result, given, path)
    return result


def _is_set(message: Message, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())


def _take(result: Message, given: Message, name: str) -> None:
    # Set in a partial message and merged: so lists, maps and the members of a `oneof` are alike.
    result.ClearField(name)
    part = type(given)()
    part.CopyFrom(given)
    for field, _ in given.ListFields():
        if field.name != name:
            part.ClearField(field.name)
    result.MergeFrom(part)


def etag_of(*parts: object) -> str:
    """A short text that is another one as soon as one of `parts` is: numbers, texts, bytes, lists."""
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=9).hexdigest()


def check_etag(given: str, actual: str, what: str) -> None:
    """Raise `EtagMismatch` where a caller names an etag, and it is not the one that `what` has."""
    if given and given != actual:
        raise EtagMismatch(f"{what} has changed since it was read: read it again", etag=actual)
