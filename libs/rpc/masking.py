"""Blanks personal data, which the contract marks, for callers who may not read it."""

import functools
from typing import NamedTuple, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from libs.rpc.calls import READ_PERSONAL, Caller
from tessera.options.v1 import options_pb2

M = TypeVar("M", bound=Message)


def mask_personal(message: M, caller: Caller) -> M:
    """Return `message` without the fields marked `(tessera.options.v1.personal)`, at any depth.

    A marked field is as if unset: "" or b"" or empty. The message itself is never changed, since a
    handler may keep it; it is returned as it is where nothing must be blanked.
    """
    if caller.may(READ_PERSONAL) or not _plan(message.DESCRIPTOR).needed:
        return message
    masked = type(message)()
    masked.CopyFrom(message)
    _blank(masked)
    return masked


class _Plan(NamedTuple):
    """What to do with a type's fields, by name."""

    personal: tuple[str, ...]
    messages: tuple[str, ...]
    lists: tuple[str, ...]
    maps: tuple[str, ...]

    @property
    def needed(self) -> bool:
        return any(self)


@functools.cache
def _plan(descriptor: Descriptor) -> _Plan:
    personal = [field.name for field in descriptor.fields if _is_personal(field)]
    messages, lists, maps = [], [], []
    for field in descriptor.fields:
        inner = _message_in(field)
        if field.name in personal or inner is None or not _holds_personal(inner, frozenset()):
            continue
        if inner is not field.message_type:
            maps.append(field.name)
        elif field.is_repeated:
            lists.append(field.name)
        else:
            messages.append(field.name)
    return _Plan(tuple(personal), tuple(messages), tuple(lists), tuple(maps))


def _is_personal(field: FieldDescriptor) -> bool:
    return bool(field.GetOptions().Extensions[options_pb2.personal])


def _message_in(field: FieldDescriptor) -> Descriptor | None:
    """Return the type of the messages in a field: a map's values, a list's elements, or the field's own."""
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        return inner.fields_by_name["value"].message_type
    return inner


def _holds_personal(descriptor: Descriptor, above: frozenset[str]) -> bool:
    if descriptor.full_name in above:  # a type that holds itself
        return False
    above |= {descriptor.full_name}
    for field in descriptor.fields:
        inner = _message_in(field)
        if _is_personal(field) or (inner is not None and _holds_personal(inner, above)):
            return True
    return False


def _blank(message: Message) -> None:
    plan = _plan(message.DESCRIPTOR)
    for name in plan.personal:
        message.ClearField(name)
    for name in plan.messages:
        if message.HasField(name):
            _blank(getattr(message, name))
    for name in plan.lists:
        for element in getattr(message, name):
            _blank(element)
    for name in plan.maps:
        for value in getattr(message, name).values():
            _blank(value)
