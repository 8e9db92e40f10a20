"""The gRPC API: definitions with the errors that callers can act on, and who is in a segment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from libs import rpc
from services.segment.app import services_of
from services.segment.membership.sql import Cache, SqlStates
from tessera.segment.v1 import (
    membership_service_pb2_grpc,
    segment_pb2,
    segment_service_pb2_grpc,
    trigger_pb2,
    trigger_service_pb2_grpc,
)
from tessera.segment.v1 import segment_service_pb2 as pb
from tessera.segment.v1 import trigger_service_pb2 as trigger_service
from tessera.segment.v1.membership_service_pb2 import GetMembershipsRequest, ListMembersRequest
from tests.integration.messaging.harness import running, until
from tests.integration.segment.harness import DAY, PARTITIONS, START, World, event, micros, person_in

RULE = 'events("Order").count() > 0'


@asynccontextmanager
async def _server(world: World) -> AsyncIterator[str]:
    everybody = rpc.Caller("test", frozenset({"*"}))
    keys = rpc.ApiKeys({"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08": everybody})
    services = services_of(world.database, world.plans, PARTITIONS)
    server = rpc.RpcServer("127.0.0.1:0", services, api_keys=keys, drain_seconds=1)
    await server.start()
    async with running(server):
        yield server.address


class Stub:
    """All of segment's services."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stubs: list[Any] = [
            segment_service_pb2_grpc.SegmentServiceStub(channel),
            trigger_service_pb2_grpc.TriggerServiceStub(channel),
            membership_service_pb2_grpc.MembershipServiceStub(channel),
        ]

    def __getattr__(self, name: str) -> Any:
        return next(getattr(stub, name) for stub in self._stubs if hasattr(stub, name))


@pytest.fixture
async def stub(world: World) -> AsyncIterator[Any]:
    async with _server(world) as address, rpc.open_channel(address, api_key="test") as channel:
        yield Stub(channel)


def _segment(segment_id: str = "buyers", expression: str = RULE, name: str = "") -> pb.UpdateSegmentRequest:
    segment = segment_pb2.Segment(segment_id=segment_id, expression=expression, display_name=name)
    return pb.UpdateSegmentRequest(segment=segment, allow_missing=True)


def _trigger(**fields: Any) -> trigger_service.UpdateTriggerRequest:
    defaults: dict[str, Any] = {"trigger_id": "cart", "event_name": "Cart", "delay": Duration(seconds=60)}
    trigger = trigger_pb2.Trigger(**(defaults | fields))
    return trigger_service.UpdateTriggerRequest(trigger=trigger, allow_missing=True)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (_segment("Buyers"), "segment.segment_id: must be lower-case letters, digits, - and _, at most 63"),
        (_segment(name="x" * 201), "segment.display_name: must have at most 200 characters"),
        (_segment(expression="traits.age >"), "segment.expression: line 1, column 13"),
        (_segment(expression='events("A").count() ==\n "x"'), "segment.expression: line 1, column 21"),
        (_segment(expression=""), "segment.expression: "),
    ],
)
async def test_a_wrong_segment_is_refused_with_the_place(stub: Any, request_: Any, expected: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.UpdateSegment(request_)

    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
    assert (refused.value.details() or "").startswith(expected)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (_trigger(event_name=""), "trigger.event_name"),
        (_trigger(event_name="a\0b"), "trigger.event_name"),
        (_trigger(unless_event_names=["Cart"]), "trigger.unless_event_names"),
        (_trigger(unless_event_names=[""]), "trigger.unless_event_names"),
        (_trigger(unless_event_names=[str(n) for n in range(51)]), "trigger.unless_event_names"),
        (_trigger(delay=Duration()), "trigger.delay"),
        (_trigger(delay=Duration(seconds=-60)), "trigger.delay"),
        (_trigger(delay=Duration(seconds=31 * 86_400)), "trigger.delay"),
        (_trigger(condition="traits."), "trigger.condition"),
    ],
)
async def test_a_wrong_trigger_is_refused_with_its_field(stub: Any, request_: Any, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.UpdateTrigger(request_)

    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
    assert (refused.value.details() or "").startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("request_", "metadata"),
    [
        (_segment(""), {"field": "segment_id"}),
        (
            _segment(expression="true &&\n  traits.age >"),
            {"field": "segment.expression", "line": "2", "column": "15"},
        ),
    ],
)
async def test_a_program_is_told_where_a_segment_is_wrong(
    stub: Any, request_: Any, metadata: dict[str, str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.UpdateSegment(request_)
    status = rpc_status.from_call(refused.value)
    info = ErrorInfo()
    status.details[0].Unpack(info)

    assert metadata == dict(info.metadata)
    assert ("INVALID_EXPRESSION" if "line" in metadata else "REQUIRED") == info.reason


async def test_a_call_that_names_nothing_is_told_what_is_missing(stub: Any) -> None:
    calls = [
        (stub.GetSegment(pb.GetSegmentRequest()), "segment_id: is required"),
        (stub.DeleteSegment(pb.DeleteSegmentRequest()), "segment_id: is required"),
        (stub.DeleteTrigger(trigger_service.DeleteTriggerRequest()), "trigger_id: is required"),
        (stub.ListMembers(ListMembersRequest()), "segment_id: is required"),
        (
            stub.GetMemberships(GetMembershipsRequest()),
            "profile_ids: must hold from 1 to 1,000 ids, not 0",
        ),
        (
            stub.GetMemberships(GetMembershipsRequest(profile_ids=["1" * 32, ""])),
            "profile_ids[1]: is required",
        ),
    ]
    for call, words in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call

        assert (grpc.StatusCode.INVALID_ARGUMENT, words) == (refused.value.code(), refused.value.details())


async def test_what_is_not_there_is_not_found(stub: Any) -> None:
    calls = [
        stub.GetSegment(pb.GetSegmentRequest(segment_id="none")),
        stub.DeleteSegment(pb.DeleteSegmentRequest(segment_id="none")),
        stub.DeleteTrigger(trigger_service.DeleteTriggerRequest(trigger_id="none")),
        stub.ListMembers(ListMembersRequest(segment_id="none")),
    ]
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call

        assert grpc.StatusCode.NOT_FOUND == refused.value.code()


async def test_the_same_definition_again_changes_nothing(stub: Any) -> None:
    first = (await stub.UpdateSegment(_segment())).segment
    again = (await stub.UpdateSegment(_segment())).segment
    changed = (await stub.UpdateSegment(_segment(name="Buyers"))).segment
    trigger = (await stub.UpdateTrigger(_trigger(unless_event_names=["B", "A", "B"]))).trigger
    same = (await stub.UpdateTrigger(_trigger(unless_event_names=["A", "B"]))).trigger

    assert (first, 1, 2) == (again, first.version, changed.version)
    assert (trigger, ["A", "B"]) == (same, list(same.unless_event_names))
    assert [changed] == list((await stub.ListSegments(pb.ListSegmentsRequest())).segments)
    assert [trigger] == list((await stub.ListTriggers(trigger_service.ListTriggersRequest())).triggers)


async def test_a_long_predicate_is_stored(stub: Any) -> None:
    """PostgreSQL indexes no text of that length."""
    skus = ", ".join(f'"{number * 7919 % 1_000_003:x}-{number ^ 0x5A5A:x}"' for number in range(600))
    rule = f'events("Order").where(properties.sku in [{skus}]).count() > 0'

    stored = (await stub.UpdateSegment(_segment(expression=rule))).segment

    assert len(rule) > 8000
    assert rule == stored.expression


async def test_a_segment_is_building_until_every_partition_is_done(world: World, stub: Any) -> None:
    person = person_in(0)
    await world.profile.tell_time(START)
    await world.profile.happen(person, event("Order", START - DAY))
    stored = (await stub.UpdateSegment(_segment())).segment
    await stub.UpdateTrigger(_trigger())

    async def active() -> bool:
        triggers = (await stub.ListTriggers(trigger_service.ListTriggersRequest())).triggers
        found = (await stub.GetSegment(pb.GetSegmentRequest(segment_id="buyers"))).segment
        return {found.state, triggers[0].state} == {segment_pb2.DEFINITION_STATE_ACTIVE}

    async with running(world.consumer()):
        await until(active, 10, "active")
    again = (await stub.UpdateSegment(_segment())).segment
    memberships = (await stub.GetMemberships(GetMembershipsRequest(profile_ids=[person]))).memberships

    assert segment_pb2.DEFINITION_STATE_BUILDING == stored.state
    assert (segment_pb2.DEFINITION_STATE_ACTIVE, 1) == (again.state, again.member_count)
    assert [("buyers", START - DAY)] == [(m.segment_id, micros(m.enter_time)) for m in memberships]


async def test_a_segment_is_active_when_the_last_partition_is_done_and_no_sooner(
    world: World, stub: Any
) -> None:
    await stub.UpdateSegment(_segment())
    states = []
    for indexes in ([0, 1], [2], [3]):
        async with world.database.begin() as connection:
            await SqlStates(connection, Cache(), PARTITIONS).finish_plan(indexes, 1)
        found = (await stub.GetSegment(pb.GetSegmentRequest(segment_id="buyers"))).segment
        states.append(found.state)

    building = segment_pb2.DEFINITION_STATE_BUILDING
    assert [building, building, segment_pb2.DEFINITION_STATE_ACTIVE] == states


async def test_members_are_paged_while_they_change(world: World, stub: Any) -> None:
    """Whoever stays is seen once; who comes or goes may be."""
    await stub.UpdateSegment(_segment(expression='events("Order").count() == 1'))
    people = sorted(person_in(index, number) for index in range(PARTITIONS) for number in range(1, 6))
    late = sorted(person_in(index, number) for index in range(PARTITIONS) for number in range(7, 9))
    seen: list[str] = []
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        for person in people:
            await world.profile.happen(person, event("Order", START - DAY))
        await world.settled()
        token = ""
        for page in range(100):
            request = ListMembersRequest(segment_id="buyers", page_size=3, page_token=token)
            answer = await stub.ListMembers(request)
            seen += [m.profile_id for m in answer.memberships]
            token = answer.next_page_token
            if not token:
                break
            if page < len(late):
                await world.profile.happen(late[page], event("Order", START))
                await world.profile.happen(people[2 * page], event("Order", START))
                await world.settled()
    stayed = set(people) - set(people[: 2 * len(late) : 2])

    assert sorted(set(seen)) == seen
    assert stayed <= set(seen) <= {*people, *late}


@pytest.mark.parametrize(
    "request_",
    [
        ListMembersRequest(segment_id="buyers", page_size=-1),
        ListMembersRequest(segment_id="buyers", page_token="x"),
        ListMembersRequest(segment_id="buyers", page_token=rpc.encode_token("members/buyers", "no UUID")),
        ListMembersRequest(segment_id="buyers", page_token=rpc.encode_token("members/others", "1" * 32)),
    ],
)
async def test_a_wrong_page_is_refused(stub: Any, request_: ListMembersRequest) -> None:
    await stub.UpdateSegment(_segment())

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ListMembers(request_)
    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()


@pytest.mark.parametrize("ids", [[], ["x"], [str(n) for n in range(1001)]])
async def test_memberships_are_asked_for_by_profile_ids(stub: Any, ids: list[str]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetMemberships(GetMembershipsRequest(profile_ids=ids))

    assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()


async def _refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    info = ErrorInfo()
    status = rpc_status.from_call(refused.value)
    status.details[0].Unpack(info)
    return refused.value.code(), info.reason


async def test_an_existing_name_is_refused_but_to_the_request_that_made_it(stub: Any) -> None:
    segment = segment_pb2.Segment(segment_id="buyers", expression=RULE)
    first = pb.CreateSegmentRequest(segment=segment, request_id="once")
    made = (await stub.CreateSegment(first)).segment
    again = (await stub.CreateSegment(first)).segment
    trigger = trigger_pb2.Trigger(trigger_id="cart", event_name="Cart", delay=Duration(seconds=60))
    await stub.CreateTrigger(trigger_service.CreateTriggerRequest(trigger=trigger))
    others = [
        stub.CreateSegment(pb.CreateSegmentRequest(segment=segment)),
        stub.CreateSegment(pb.CreateSegmentRequest(segment=segment, request_id="another")),
        stub.CreateTrigger(trigger_service.CreateTriggerRequest(trigger=trigger)),
    ]

    assert made == again
    for other in others:
        assert (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS") == await _refusal(other)


async def test_an_update_changes_what_its_mask_names_and_fails_on_another_etag(stub: Any) -> None:
    first = (await stub.UpdateSegment(_segment(name="Buyers"))).segment
    renamed = pb.UpdateSegmentRequest(
        segment=segment_pb2.Segment(segment_id="buyers", display_name="B", etag=first.etag),
        update_mask={"paths": ["display_name"]},
    )
    second = (await stub.UpdateSegment(renamed)).segment
    tried = pb.UpdateSegmentRequest(segment=second, validate_only=True)
    tried.segment.expression = "true"
    checked = (await stub.UpdateSegment(tried)).segment
    found = (await stub.GetSegment(pb.GetSegmentRequest(segment_id="buyers"))).segment

    assert ("B", RULE, 2) == (second.display_name, second.expression, second.version)
    assert ("true", second.expression) == (checked.expression, found.expression)
    assert (grpc.StatusCode.ABORTED, "ETAG_MISMATCH") == await _refusal(stub.UpdateSegment(renamed))
    stale = pb.DeleteSegmentRequest(segment_id="buyers", etag=first.etag)
    assert (grpc.StatusCode.ABORTED, "ETAG_MISMATCH") == await _refusal(stub.DeleteSegment(stale))
    missing = pb.UpdateSegmentRequest(segment=segment_pb2.Segment(segment_id="none", expression=RULE))
    assert (grpc.StatusCode.NOT_FOUND, "NOT_FOUND") == await _refusal(stub.UpdateSegment(missing))
    await stub.DeleteSegment(pb.DeleteSegmentRequest(segment_id="none", allow_missing=True))


async def test_definitions_are_listed_in_pages_and_their_versions_newest_first(stub: Any) -> None:
    for number in range(5):
        await stub.UpdateSegment(_segment(f"s{number}"))
        await stub.UpdateTrigger(_trigger(trigger_id=f"t{number}"))
    for delay in (90, 120):
        await stub.UpdateTrigger(_trigger(trigger_id="t1", delay=Duration(seconds=delay)))
    segments: list[str] = []
    token = ""
    while True:
        page = await stub.ListSegments(pb.ListSegmentsRequest(page_size=2, page_token=token))
        segments += [segment.segment_id for segment in page.segments]
        token = page.next_page_token
        if not token:
            break
    request = trigger_service.ListTriggerVersionsRequest(trigger_id="t1", page_size=2)
    versions = await stub.ListTriggerVersions(request)
    triggers = (await stub.ListTriggers(trigger_service.ListTriggersRequest())).triggers
    changed = next(trigger for trigger in triggers if trigger.trigger_id == "t1")

    assert [f"s{number}" for number in range(5)] == segments
    assert [(3, 120), (2, 90)] == [(v.trigger.version, v.trigger.delay.seconds) for v in versions.versions]
    assert versions.next_page_token
    assert changed.create_time.ToMicroseconds() <= changed.update_time.ToMicroseconds()
    wrong = stub.ListSegments(pb.ListSegmentsRequest(page_token=versions.next_page_token))
    assert (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAGE_TOKEN") == await _refusal(wrong)


async def test_a_misspelt_event_name_is_answered_with_a_warning_and_the_nearest_names(
    world: World, stub: Any
) -> None:
    silent = await stub.UpdateSegment(_segment("early", 'events("Order Complete").count() == 0'))
    async with running(world.consumer()):
        await world.profile.tell_time(START)
        await world.profile.happen(person_in(0), event("Order Completed", START), event("Viewed", START))
        await world.settled()

        async def known() -> bool:
            return bool(await world.database.pool.fetchval("select count(*) from segment.event_names"))

        await until(known, 10, "names are kept")
    told = await stub.UpdateSegment(_segment("late", 'events("Order Complete").count() == 0'))
    trigger = await stub.UpdateTrigger(_trigger(event_name="View", unless_event_names=["Order Completed"]))
    right = await stub.UpdateSegment(_segment("right", 'events("Order Completed").count() == 0'))

    assert ([], []) == (list(silent.warnings), list(right.warnings))
    assert [("segment.expression", "EVENT_NEVER_SEEN", "Order Complete", "Order Completed")] == [
        (w.field, w.reason, w.name, w.nearest[0]) for w in told.warnings
    ]
    assert [("trigger.event_name", "Viewed")] == [(w.field, w.nearest[0]) for w in trigger.warnings]
    assert "late" == told.segment.segment_id
