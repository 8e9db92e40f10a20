import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from libs.errors import Invalid
from libs.rpc.resources import updated
from tessera.ingest.v1 import event_pb2
from tessera.profile.v1 import profile_service_pb2

UPDATABLE = ("name", "group_id", "consent")


def test_an_update_changes_the_fields_of_its_mask_and_no_other() -> None:
    stored = event_pb2.Event(name="a", group_id="b", user_id="u", consent={"x": True})
    change = event_pb2.Event(name="c", group_id="d", user_id="v", consent={"y": False})

    result = updated(stored, change, FieldMask(paths=["name", "consent"]), UPDATABLE)

    assert event_pb2.Event(name="c", group_id="b", user_id="u", consent={"y": False}) == result
    assert event_pb2.Event(name="a", group_id="b", user_id="u", consent={"x": True}) == stored


def test_a_field_of_the_mask_that_is_not_set_is_cleared() -> None:
    stored = event_pb2.Event(name="a", consent={"x": True})

    assert event_pb2.Event(name="a") == updated(
        stored, event_pb2.Event(), FieldMask(paths=["consent"]), UPDATABLE
    )


def test_without_a_mask_what_is_set_changes_and_a_star_replaces_everything() -> None:
    stored = event_pb2.Event(name="a", group_id="b", user_id="u")
    change = event_pb2.Event(name="c")

    assert event_pb2.Event(name="c", group_id="b", user_id="u") == updated(
        stored, change, FieldMask(), UPDATABLE
    )
    assert event_pb2.Event(name="c", user_id="u") == updated(
        stored, change, FieldMask(paths=["*"]), UPDATABLE
    )


def test_a_member_of_a_oneof_replaces_the_other() -> None:
    stored = profile_service_pb2.GetProfileRequest(profile_id="p")
    change = profile_service_pb2.GetProfileRequest(identifier={"value": "ada"})

    result = updated(stored, change, FieldMask(paths=["identifier"]), ("profile_id", "identifier"))

    assert change == result


@pytest.mark.parametrize("path", ["user_id", "nothing", "name.length", ""])
def test_a_field_that_may_not_be_changed_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="update_mask"):
        updated(event_pb2.Event(), event_pb2.Event(), FieldMask(paths=[path]), UPDATABLE)
