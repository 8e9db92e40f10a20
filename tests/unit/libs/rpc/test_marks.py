"""What is personal or secret in the contracts is marked as that, wherever it travels."""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import Default

from libs.rpc.permissions import all_services
from tessera.ingest.v1 import ingest_events_pb2
from tessera.options.v1 import options_pb2
from tessera.profile.v1 import profile_events_pb2
from tessera.segment.v1 import segment_events_pb2

# JSON that tells of work, not of people; names and ids that open nothing.
_NOT_PERSONAL = {"tessera.operations.v1.Operation.result_json"}
_NOT_SECRET = {"page_token", "next_page_token", "idempotency_key", "key_id"}


def _files() -> Iterator[FileDescriptor]:
    waiting = [Default().FindServiceByName(name).file for name in all_services()]
    # The records of the log, which no method carries.
    waiting += [records.DESCRIPTOR for records in (ingest_events_pb2, profile_events_pb2, segment_events_pb2)]
    seen: dict[str, FileDescriptor] = {}
    while waiting:
        file = waiting.pop()
        if file.name.startswith("tessera/") and file.name not in seen:
            seen[file.name] = file
            waiting += file.dependencies
    yield from seen.values()


def _fields() -> Iterator[FieldDescriptor]:
    waiting: list[Descriptor] = [m for file in _files() for m in file.message_types_by_name.values()]
    while waiting:
        message = waiting.pop()
        waiting += message.nested_types
        yield from message.fields


def test_every_json_object_of_a_person_or_an_event_is_personal() -> None:
    objects = [f for f in _fields() if f.name.endswith("_json") and f.full_name not in _NOT_PERSONAL]

    assert len(objects) > 15
    assert [] == [f.full_name for f in objects if not f.GetOptions().Extensions[options_pb2.personal]]


def test_every_address_and_id_of_a_person_is_personal() -> None:
    names = {"user_id", "anonymous_id", "previous_id", "email", "phone", "to"}
    named = [f for f in _fields() if f.name in names]

    assert len(named) > 8
    assert [] == [f.full_name for f in named if not f.GetOptions().Extensions[options_pb2.personal]]


def test_every_key_and_token_is_secret() -> None:
    keys = [
        f
        for f in _fields()
        if f.name.endswith(("_key", "_token", "token", "password"))
        and f.name not in _NOT_SECRET
        and f.type == FieldDescriptor.TYPE_STRING
    ]

    assert len(keys) > 3
    assert [] == [f.full_name for f in keys if not f.GetOptions().Extensions[options_pb2.secret]]
