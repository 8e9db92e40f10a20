"""Between the contracts and the domain: nothing loses a digit, a byte or its place."""

import msgspec
import pytest
from google.protobuf.message import Message

from libs.errors import Invalid
from services.profile.directory import use_cases as directory
from services.profile.directory import wire as profile_wire
from services.profile.history import wire
from services.profile.history.model import StoredStep
from services.profile.identity.model import Change, Profile
from services.profile.traits.model import Trait
from tessera.ingest.v1 import ingest_events_pb2
from tessera.profile.v1 import history_pb2, profile_events_pb2, profile_pb2
from tests.builders import collected

_EXACT = (
    b'{"above": 9007199254740993, "beyond": 340282366920938463463374607431768211457, "price": 1.10,'
    b' "gone": null, "deep": {"n": [18446744073709551617]}, "twice": 1, "twice": 2}'
)


def _profile(traits: bytes) -> Profile:
    event = wire.event_of(collected(traits=traits, user_id="1").SerializeToString())
    known = {name: Trait(value, 1, event.event_id, True) for name, value in event.traits.items()}
    stored = msgspec.msgpack.encode(Profile("id", 1, traits=known))
    return msgspec.msgpack.decode(stored, type=Profile)


def test_numbers_beyond_64_bits_survive_from_the_event_to_the_answer() -> None:
    answer = profile_wire.profile_pb(_profile(_EXACT)).traits_json

    assert (
        b'{"above":9007199254740993,"beyond":340282366920938463463374607431768211457,'
        b'"deep":{"n": [18446744073709551617]},"price":1.10,"twice":2}'
    ) == answer


def test_a_trait_change_holds_the_value_as_it_came_and_nothing_for_a_removed_one() -> None:
    profile = _profile(_EXACT)
    (body,) = wire.bodies_of(Change(profile, traits=set(profile.traits)))
    step = profile_events_pb2.ProfileUpdated.FromString(body)

    assert {
        "above": b"9007199254740993",
        "beyond": b"340282366920938463463374607431768211457",
        "deep": b'{"n": [18446744073709551617]}',
        "gone": b"",
        "price": b"1.10",
        "twice": b"2",
    } == {change.name: change.value_json for change in step.trait_changes}


@pytest.mark.parametrize("traits", [b"", b"null", b"{}"])
def test_an_identify_without_traits_is_an_event_like_any_other(traits: bytes) -> None:
    assert {} == wire.event_of(collected(traits=traits, user_id="1").SerializeToString()).traits


@pytest.mark.parametrize("record", [b"\xff", b"", collected(user_id="1").SerializeToString()[:20]])
def test_a_record_that_is_no_event_is_refused(record: bytes) -> None:
    with pytest.raises(Invalid):
        wire.event_of(record)


def test_a_large_change_becomes_several_steps_that_hold_each_event_once_in_order() -> None:
    events = [
        wire.event_of(
            collected(user_id="1", message_id=str(n), properties={"text": "x" * 30_000}).SerializeToString()
        )
        for n in range(100)
    ]
    bodies = wire.bodies_of(Change(Profile("id", 1), events=events, added=["u:1"]))
    found = [wire.event_pb(event).message_id for body in bodies for event in wire.events_in(body)]

    assert 5 < len(bodies) < 20
    assert max(map(len, bodies)) < 500_000
    assert [str(n) for n in range(100)] == found


@pytest.mark.parametrize(
    ("kind", "value"),
    [("EMAIL", "nobody"), ("EMAIL", "a\0@b.co"), ("PHONE", "12"), ("USER_ID", ""), ("USER_ID", "a\0")],
)
def test_an_identifier_that_is_none_of_its_kind_is_refused(kind: str, value: str) -> None:
    number = profile_pb2.IdentifierKind.Value(f"IDENTIFIER_KIND_{kind}")
    with pytest.raises(Invalid):
        directory.normal_identifier(
            profile_wire.identifier_of(profile_pb2.Identifier(kind=number, value=value))
        )


def test_an_identifier_is_looked_up_in_its_normal_form() -> None:
    asked = profile_pb2.Identifier(kind=profile_pb2.IDENTIFIER_KIND_PHONE, value="0049 (30) 123-456")

    assert "p:+4930123456" == directory.normal_identifier(profile_wire.identifier_of(asked))


def _fields(message: type[Message], without: set[str]) -> dict[str, tuple[int, int, bool]]:
    fields = message.DESCRIPTOR.fields
    return {f.name: (f.number, f.type, f.is_repeated) for f in fields if f.name not in without}


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        (ingest_events_pb2.EventCollected, history_pb2.HistoryEvent),
        (profile_events_pb2.ProfileUpdated, history_pb2.HistoryStep),
        (profile_events_pb2.TraitChange, history_pb2.HistoryTrait),
        (profile_events_pb2.ConsentChange, history_pb2.HistoryConsent),
    ],
)
def test_an_answer_is_read_from_a_record_since_its_fields_have_the_records_numbers(
    record: type[Message], answer: type[Message]
) -> None:
    assert _fields(record, without={"more"}) == _fields(answer, without=set())


def test_what_only_records_hold_is_not_answered() -> None:
    body = profile_events_pb2.ProfileUpdated(more=True).SerializeToString()
    told = history_pb2.HistoryStep(profile_id="p", revision=1)

    assert told.SerializeToString() == wire.step_pb("p", StoredStep(1, False, body)).SerializeToString()
