"""What goes with a call: its id, its trace, its log line, its metrics, its deadline."""

import asyncio
from typing import Any

import grpc
import pytest
import structlog
from grpc import StatusCode
from prometheus_client import REGISTRY

from libs import errors, rpc
from libs.observability import traces
from tessera.profile.v1 import profile_service_pb2_grpc
from tessera.profile.v1.profile_pb2 import Profile

METHOD = "tessera.profile.v1.ProfileService/GetProfile"


async def empty(_: Any) -> Profile:
    return Profile()


async def test_a_request_id_is_echoed_bound_and_handed_on(
    running: Any, profiles: Any, stub: Any, request_: Any, lines: Any
) -> None:
    async def get(_: Any) -> Profile:
        structlog.get_logger("handler").info("working")
        return Profile()

    profiles.get = get
    call = stub.GetProfile(request_, metadata=(("x-request-id", "abc-1"),))
    await call
    trailing = dict(await call.trailing_metadata())
    (working,) = [line for line in lines() if line["event"] == "working"]

    assert "abc-1" == trailing["x-request-id"]
    assert ("abc-1", "analyst") == (working["request_id"], working["caller"])


@pytest.mark.parametrize("given", [(), (("x-request-id", ""),), (("x-request-id", "x" * 129),)])
async def test_a_request_without_a_usable_id_gets_one(
    profiles: Any, stub: Any, request_: Any, given: Any
) -> None:
    profiles.get = empty
    call = stub.GetProfile(request_, metadata=given)
    await call
    trailing = dict(await call.trailing_metadata())

    assert 32 == len(trailing["x-request-id"])


async def test_a_failed_call_echoes_its_id_as_well(profiles: Any, stub: Any, request_: Any) -> None:
    async def get(_: Any) -> Profile:
        raise errors.NotFound("nobody")

    profiles.get = get
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetProfile(request_, metadata=(("x-request-id", "abc-2"),))

    assert "abc-2" == dict(failed.value.trailing_metadata())["x-request-id"]


async def test_a_channel_hands_on_request_id_trace_and_key(profiles: Any, stub: Any, request_: Any) -> None:
    traceparent = traces.new_traceparent(sampled=True)
    profiles.get = empty
    with structlog.contextvars.bound_contextvars(request_id="abc-3"), traces.span("outer", traceparent):
        await stub.GetProfile(request_)
    (sent,) = profiles.metadata

    assert ("abc-3", traceparent) == (sent["x-request-id"], sent["traceparent"])
    assert "Bearer analyst" == sent["authorization"]


async def test_what_the_caller_sets_itself_is_kept(profiles: Any, stub: Any, request_: Any) -> None:
    profiles.get = empty
    with structlog.contextvars.bound_contextvars(request_id="ours"):
        await stub.GetProfile(request_, metadata=(("x-request-id", "theirs"),))

    assert "theirs" == profiles.metadata[0]["x-request-id"]


async def test_a_call_carries_its_trace_to_the_handler(profiles: Any, stub: Any, request_: Any) -> None:
    seen = []

    async def get(_: Any) -> Profile:
        seen.append(traces.current_traceparent())
        return Profile()

    profiles.get = get
    traceparent = traces.new_traceparent(sampled=True)
    await stub.GetProfile(request_, metadata=(("traceparent", traceparent),))

    assert [traceparent] == seen


async def test_an_answered_call_is_one_line_for_debugging(
    profiles: Any, stub: Any, request_: Any, lines: Any
) -> None:
    profiles.get = empty
    await stub.GetProfile(request_)
    (line,) = [line for line in lines() if line["event"].startswith("call")]

    assert {
        "event": "call answered",
        "level": "debug",
        "method": METHOD,
        "code": "OK",
        "caller": "analyst",
        "logger": "libs.rpc.access_log",
        "service": "profile",
    }.items() <= line.items()
    assert 0 < line["seconds"] < 5
    assert line["request_id"]


async def test_a_refused_call_is_one_line_with_its_reason(
    profiles: Any, stub: Any, request_: Any, lines: Any
) -> None:
    async def get(_: Any) -> Profile:
        raise errors.NotFound("nobody is called ann@example.com")

    profiles.get = get
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.GetProfile(request_)
    (line,) = [line for line in lines() if line["event"].startswith("call")]

    assert ("call refused", "info", "NOT_FOUND", "NOT_FOUND") == (
        line["event"],
        line["level"],
        line["code"],
        line["reason"],
    )
    assert "ann@example.com" not in str(line)


async def test_calls_are_counted_by_method_and_code(profiles: Any, stub: Any, request_: Any) -> None:
    def counted(code: str) -> float:
        return REGISTRY.get_sample_value("tessera_rpc_calls_total", {"method": METHOD, "code": code}) or 0

    before = counted("OK")
    timed = REGISTRY.get_sample_value("tessera_rpc_seconds_count", {"method": METHOD}) or 0
    profiles.get = empty
    await stub.GetProfile(request_)

    assert before + 1 == counted("OK")
    assert timed + 1 == REGISTRY.get_sample_value("tessera_rpc_seconds_count", {"method": METHOD})


async def test_a_call_without_a_deadline_gets_the_servers(
    start: Any, profiles: Any, request_: Any, lines: Any
) -> None:
    cancelled = asyncio.Event()

    async def get(_: Any) -> Profile:
        try:
            return await asyncio.Future()
        finally:
            cancelled.set()

    profiles.get = get
    async with (
        start(unary_seconds=0.05) as running,
        grpc.aio.insecure_channel(running.server.address) as channel,
    ):
        stub: Any = profile_service_pb2_grpc.ProfileServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.GetProfile(request_, metadata=(("authorization", "Bearer admin"),))
    codes = [line["code"] for line in lines() if line["event"] == "call refused"]

    assert StatusCode.DEADLINE_EXCEEDED is failed.value.code()
    assert cancelled.is_set()
    assert ["DEADLINE_EXCEEDED"] == codes


@pytest.mark.parametrize("seconds", [0.05, None], ids=["the caller's", "the channel's"])
async def test_a_deadline_ends_the_call_on_both_sides(
    running: Any, profiles: Any, request_: Any, lines: Any, seconds: float | None
) -> None:
    ended = asyncio.Event()

    async def get(context: Any) -> Profile:
        try:
            return await asyncio.Future()
        finally:
            ended.set()

    profiles.get = get
    async with rpc.open_channel(running.server.address, api_key="admin", deadline_seconds=0.05) as channel:
        stub: Any = profile_service_pb2_grpc.ProfileServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.GetProfile(request_, timeout=seconds)
        await asyncio.wait_for(ended.wait(), 5)

    assert StatusCode.DEADLINE_EXCEEDED is failed.value.code()
    assert isinstance(rpc.error_from(failed.value), errors.Unavailable)


async def test_a_call_that_is_cancelled_stops_the_handler(
    profiles: Any, stub: Any, request_: Any, lines: Any
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def get(_: Any) -> Profile:
        begun.set()
        try:
            return await asyncio.Future()
        finally:
            ended.set()

    profiles.get = get
    call = stub.GetProfile(request_)
    calling = asyncio.ensure_future(call)
    await asyncio.wait_for(begun.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await asyncio.wait_for(ended.wait(), 5)
    codes = [line["code"] for line in lines() if line["event"] == "call refused"]

    assert ["CANCELLED"] == codes
