"""Updates of a resource: the fields that a mask names, after AIP-134 and AIP-161."""

from collections.abc import Collection
from typing import Final, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from libs.errors import Invalid

M = TypeVar("M", bound=Message)

EVERYTHING: Final = "*"


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
