"""Personal data is blanked for callers who may not read it."""

from typing import Any

import pytest

from libs import rpc
from tessera.ingest.v1 import ingest_service_pb2, rejection_service_pb2
from tessera.profile.v1 import (
    history_service_pb2,
    history_service_pb2_grpc,
    profile_pb2,
    profile_service_pb2,
    profile_service_pb2_grpc,
)
from tessera.profile.v1.profile_pb2 import Identifier, Profile
from tessera.render.v1 import preview_service_pb2

READER = rpc.Caller("reader", frozenset({"profile.read"}))
ANALYST = rpc.Caller("analyst", frozenset({"pii.read"}))


def somebody() -> Profile:
    email = Identifier(kind=profile_pb2.IDENTIFIER_KIND_EMAIL, value="ann@example.com")
    return Profile(profile_id="1", identifiers=[email], traits_json=b'{"name":"Ann"}', event_count=3)


NOBODY = Profile(profile_id="1", event_count=3)


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        (somebody(), NOBODY),
        (
            profile_service_pb2.GetProfileResponse(profile=somebody()),
            profile_service_pb2.GetProfileResponse(profile=NOBODY),
        ),
        (
            profile_service_pb2.ListProfilesResponse(profiles=[somebody()], total_size=1),
            profile_service_pb2.ListProfilesResponse(profiles=[NOBODY], total_size=1),
        ),
        (
            profile_service_pb2.BatchGetProfilesResponse(profiles={"1": somebody()}),
            profile_service_pb2.BatchGetProfilesResponse(profiles={"1": NOBODY}),
        ),
        (
            rejection_service_pb2.RejectedEvent(rejection_id="1", body=b"{}"),
            rejection_service_pb2.RejectedEvent(rejection_id="1"),
        ),
        (
            preview_service_pb2.RenderForProfileResponse(subject="Hi Ann"),
            preview_service_pb2.RenderForProfileResponse(),
        ),
        (profile_service_pb2.GetProfileResponse(), profile_service_pb2.GetProfileResponse()),
    ],
    ids=["fields", "message", "list", "map", "bytes", "strings", "unset"],
)
def test_marked_fields_are_blanked_at_any_depth(message: Any, masked: Any) -> None:
    before = message.SerializeToString(deterministic=True)

    actual = rpc.mask_personal(message, READER)

    assert masked == actual
    assert before == message.SerializeToString(deterministic=True)


def test_an_unset_message_stays_unset() -> None:
    masked = rpc.mask_personal(profile_service_pb2.GetProfileResponse(), READER)

    assert not masked.HasField("profile")


def test_who_may_read_personal_data_gets_the_message_itself() -> None:
    message = somebody()

    assert message is rpc.mask_personal(message, ANALYST)


def test_a_message_without_personal_data_is_not_copied() -> None:
    message = ingest_service_pb2.CollectEventsResponse(accepted=1)

    assert message is rpc.mask_personal(message, READER)


@pytest.mark.parametrize(
    ("key", "expected"), [("reader", NOBODY), ("analyst", somebody()), ("admin", somebody())]
)
async def test_answers_are_masked_on_their_way_out(
    running: Any, profiles: Any, request_: Any, key: str, expected: Profile
) -> None:
    kept = somebody()

    async def get(_: Any) -> Profile:
        return kept

    profiles.get = get
    async with rpc.open_channel(running.server.address, api_key=key) as channel:
        response = await profile_service_pb2_grpc.ProfileServiceStub(channel).GetProfile(request_)

    assert expected == response.profile
    assert somebody() == kept


@pytest.mark.parametrize("style", ["generate", "write"])
async def test_streams_are_masked_in_both_styles(running: Any, profiles: Any, style: str) -> None:
    part = history_service_pb2.ReadHistoryResponse(profile_id="1")
    part.steps.add(revision=7).events.add(name="Paid", email="ann@example.com")
    masked = history_service_pb2.ReadHistoryResponse(profile_id="1")
    masked.steps.add(revision=7).events.add(name="Paid")

    async def generate(_: Any, __: Any) -> Any:
        yield part

    async def write(_: Any, context: Any) -> None:
        await context.write(part)

    profiles.read = {"generate": generate, "write": write}[style]
    async with rpc.open_channel(running.server.address, api_key="reader") as channel:
        stub: Any = history_service_pb2_grpc.HistoryServiceStub(channel)
        received = [r async for r in stub.ReadHistory(history_service_pb2.ReadHistoryRequest())]

    assert [masked] == received
