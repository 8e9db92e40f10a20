"""The gRPC API on a real server over real PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import orjson
import pytest

from libs import rpc
from libs.errors import FailedPrecondition, Invalid, NotFound, TesseraError
from services.profile.app import services
from tessera.profile.v1 import history_service_pb2 as history_pb
from tessera.profile.v1 import history_service_pb2_grpc, profile_pb2, profile_service_pb2_grpc
from tessera.profile.v1 import profile_service_pb2 as pb
from tests.builders import collected
from tests.integration.messaging.harness import running
from tests.integration.profile.harness import Deployment

_EMAIL = profile_pb2.IDENTIFIER_KIND_EMAIL


@pytest.fixture
async def channel(deployment: Deployment, admin_keys: rpc.ApiKeys) -> AsyncIterator[grpc.aio.Channel]:
    served = services(deployment.database, deployment.log)
    server = rpc.RpcServer("127.0.0.1:0", served, api_keys=admin_keys, drain_seconds=2)
    await server.start()
    async with running(server), rpc.open_channel(server.address, api_key="admin") as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return profile_service_pb2_grpc.ProfileServiceStub(channel)


@pytest.fixture
def history(channel: grpc.aio.Channel) -> Any:
    return history_service_pb2_grpc.HistoryServiceStub(channel)


async def _refused(call: Any) -> TesseraError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return rpc.error_from(caught.value)


async def test_a_profile_answers_by_id_by_identifier_and_by_an_absorbed_id(
    deployment: Deployment, stub: Any
) -> None:
    await deployment.apply(collected(anonymous_id="a", traits={"n": 2**53 + 1, "gone": 1}))
    absorbed = (await deployment.profile("a:a")).profile_id
    await deployment.apply(collected(user_id="1", email="a@b.co", anonymous_id="a", traits={"gone": None}))
    asked: list[dict[str, Any]] = [
        {"profile_id": absorbed},
        {"profile_id": absorbed.upper()},
        {"identifier": profile_pb2.Identifier(kind=_EMAIL, value=" A@B.co ")},
    ]
    answers = [(await stub.GetProfile(pb.GetProfileRequest(**by))).profile for by in asked]
    batch = await stub.BatchGetProfiles(pb.BatchGetProfilesRequest(profile_ids=[absorbed]))

    assert answers[0] == answers[1] == answers[2] == batch.profiles[absorbed]
    assert {"n": 2**53 + 1} == orjson.loads(answers[0].traits_json)
    assert ["1", "a@b.co", "a"] == [identifier.value for identifier in answers[0].identifiers]
    assert [absorbed] == list(answers[0].absorbed_profile_ids)
    assert 2 == answers[0].event_count


_REFUSED: list[tuple[str, type[TesseraError], Callable[[Any], Any]]] = [
    ("nobody", NotFound, lambda s: s.GetProfile(pb.GetProfileRequest(profile_id="1" * 32))),
    ("no name", Invalid, lambda s: s.GetProfile(pb.GetProfileRequest())),
    ("no id", Invalid, lambda s: s.GetProfile(pb.GetProfileRequest(profile_id="1"))),
    (
        "U+0000",
        Invalid,
        lambda s: s.GetProfile(
            pb.GetProfileRequest(
                identifier=profile_pb2.Identifier(kind=profile_pb2.IDENTIFIER_KIND_USER_ID, value="a\0")
            )
        ),
    ),
    ("no ids", Invalid, lambda s: s.BatchGetProfiles(pb.BatchGetProfilesRequest())),
    (
        "too many ids",
        Invalid,
        lambda s: s.BatchGetProfiles(pb.BatchGetProfilesRequest(profile_ids=["1" * 32] * 1001)),
    ),
    ("a negative page", Invalid, lambda s: s.ListProfiles(pb.ListProfilesRequest(page_size=-1))),
    (
        "a wrong token",
        Invalid,
        lambda s: s.ListProfiles(pb.ListProfilesRequest(page_token=rpc.encode_token("profiles", "x"))),
    ),
]


async def test_what_cannot_be_answered_is_refused(stub: Any) -> None:
    refused = [(what, type(await _refused(call(stub)))) for what, _, call in _REFUSED]

    assert [(what, error) for what, error, _ in _REFUSED] == refused


async def test_a_revision_that_is_not_reached_yet_is_a_failed_precondition(
    deployment: Deployment, stub: Any
) -> None:
    await deployment.apply(collected(user_id="1"))
    profile_id = (await deployment.profile("u:1")).profile_id
    reached = await stub.GetProfile(pb.GetProfileRequest(profile_id=profile_id, min_revision=1))
    error = await _refused(stub.GetProfile(pb.GetProfileRequest(profile_id=profile_id, min_revision=2)))

    assert 1 == reached.profile.revision
    assert FailedPrecondition is type(error)


async def test_profiles_and_events_are_listed_page_by_page_each_once(
    deployment: Deployment, stub: Any, history: Any
) -> None:
    events = [collected(user_id="1", message_id=f"m{n}") for n in range(60)]
    await deployment.apply(*events[:30])
    for event in events[30:35]:
        await deployment.apply(event)
    await deployment.apply(*events[35:], *(collected(user_id=f"{n}") for n in range(2, 9)))
    profile_id = (await deployment.profile("u:1")).profile_id
    profiles, token = [], ""
    while True:
        page = await stub.ListProfiles(pb.ListProfilesRequest(page_size=3, page_token=token, count_all=True))
        profiles += [profile.profile_id for profile in page.profiles]
        if not (token := page.next_page_token):
            break
    listed, token = [], ""
    while True:
        request = history_pb.ListEventsRequest(profile_id=profile_id, page_size=7, page_token=token)
        found = await history.ListEvents(request)
        listed += [event.message_id for event in found.events]
        if not (token := found.next_page_token):
            break

    assert 8 == page.total_size == len(set(profiles)) == len(profiles)
    assert [f"m{n}" for n in reversed(range(60))] == listed


async def test_events_that_name_nobody_are_listed_page_by_page(
    deployment: Deployment, stub: Any, history: Any
) -> None:
    nobodys = [collected(user_id="(null)", message_id=f"m{n}", received=n + 1) for n in range(7)]
    await deployment.apply(*nobodys, collected(user_id="1"))
    listed, token = [], ""
    while True:
        request = history_pb.ListUnassignedEventsRequest(page_size=3, page_token=token)
        page = await history.ListUnassignedEvents(request)
        listed += [event.message_id for event in page.events]
        if not (token := page.next_page_token):
            break
    profiles = await stub.ListProfiles(pb.ListProfilesRequest(count_all=True))

    assert [f"m{n}" for n in reversed(range(7))] == listed
    assert 1 == profiles.total_size


async def test_70_profiles_with_250_kb_of_traits_are_answered_in_portions(
    deployment: Deployment, stub: Any
) -> None:
    text = "x" * 250_000
    await deployment.apply(*(collected(user_id=f"{n}", traits={"text": text}) for n in range(1, 71)))
    left = [profile.profile_id for profile in await deployment.profiles()]
    sizes: list[int] = []
    found: set[str] = set()
    while left:
        answer = await stub.BatchGetProfiles(pb.BatchGetProfilesRequest(profile_ids=left))
        sizes.append(answer.ByteSize())
        found |= set(answer.profiles)
        assert len(answer.remaining_profile_ids) < len(left)
        left = list(answer.remaining_profile_ids)
    listed, token = 0, ""
    while True:
        page = await stub.ListProfiles(pb.ListProfilesRequest(page_size=1000, page_token=token))
        sizes.append(page.ByteSize())
        listed += len(page.profiles)
        if not (token := page.next_page_token):
            break

    assert 70 == len(found) == listed
    assert 8 <= len(sizes) <= 12
    assert max(sizes) < 4_500_000
    assert not page.HasField("total_size"), "nobody asked to count"


async def test_the_answer_says_where_mail_goes_and_what_consent_rests_on(
    deployment: Deployment, stub: Any
) -> None:
    await deployment.apply(collected(user_id="1", email="a@b.co", traits={"email": "a@b.co"}))
    refusal = collected(user_id="1", consent={"email_marketing": False}, traits={"email": None})
    await deployment.apply(refusal)
    by = profile_pb2.Identifier(kind=_EMAIL, value="a@b.co")
    answer = (await stub.GetProfile(pb.GetProfileRequest(identifier=by))).profile
    details = answer.consent_details["email_marketing"]

    assert "" == answer.email
    assert {"email_marketing": False} == dict(answer.consent)
    assert (False, refusal.event_id) == (details.granted, details.proof.event_id)
    assert profile_pb2.CONSENT_SOURCE_SERVER == details.source


async def test_read_history_streams_large_histories_in_parts(deployment: Deployment, history: Any) -> None:
    text = {"text": "x" * 30_000}
    await deployment.apply(*(collected(user_id="1", properties=text) for _ in range(120)))
    profile_id = (await deployment.profile("u:1")).profile_id
    request = history_pb.ReadHistoryRequest(profile_ids=[profile_id, "1" * 32])
    parts = [part async for part in history.ReadHistory(request)]
    mine = [part for part in parts if part.profile_id == profile_id]

    assert len(mine) >= 3
    assert 120 == sum(len(step.events) for part in mine for step in part.steps)
    assert mine[-1].HasField("revision")
    assert not mine[0].HasField("revision")
    assert 0 == parts[-1].revision


async def test_resending_puts_the_last_step_of_each_profile_on_the_stream_once_more(
    deployment: Deployment, history: Any
) -> None:
    await deployment.apply(collected(anonymous_id="a"))
    absorbed = (await deployment.profile("a:a")).profile_id
    await deployment.apply(collected(user_id="1"))
    await deployment.apply(collected(user_id="1", anonymous_id="a", traits={"n": 1}))
    survivor = (await deployment.profile("u:1")).profile_id
    before = await deployment.updates()
    histories = await deployment.histories([absorbed, survivor])
    answer = await history.ResendProfiles(
        history_pb.ResendProfilesRequest(profile_ids=[absorbed.upper(), survivor, "1" * 32])
    )
    after = await deployment.updates()

    assert {i: revision for i, (revision, _) in histories.items()} == dict(answer.revisions)
    for profile_id in (absorbed, survivor):
        assert [*before[profile_id], before[profile_id][-1]] == after[profile_id]
    assert survivor == after[absorbed][-1].merged_into
    assert histories == await deployment.histories([absorbed, survivor])
