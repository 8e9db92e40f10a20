"""Start, drain, TLS and health of a server."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from libs import rpc
from libs.rpc.health import Health
from tessera.profile.v1 import profile_service_pb2_grpc
from tessera.profile.v1.history_service_pb2 import ReadHistoryRequest, ReadHistoryResponse
from tessera.profile.v1.profile_pb2 import Profile

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
SERVICE = "tessera.profile.v1.ProfileService"


async def test_a_call_in_flight_finishes_when_the_server_stops(
    running: Any, profiles: Any, stub: Any, request_: Any
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def get(_: Any) -> Profile:
        begun.set()
        await go_on.wait()
        return Profile(profile_id="late")

    profiles.get = get
    calling = asyncio.ensure_future(stub.GetProfile(request_))
    await begun.wait()
    async with rpc.open_channel(running.server.address) as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(HealthCheckRequest(service="readiness"))
        before = await watching.read()
        running.stopping.set()
        after = await watching.read()
        still_running = not running.task.done()
        go_on.set()
        response = await calling
    await running.task

    assert (SERVING, NOT_SERVING) == (before.status, after.status)
    assert still_running
    assert "late" == response.profile.profile_id


async def test_a_stream_without_an_end_is_told_that_the_server_stops(
    running: Any, profiles: Any, histories: Any
) -> None:
    async def read(_: Any, __: Any) -> Any:
        yield ReadHistoryResponse(profile_id="1")
        await rpc.stopping().wait()
        yield ReadHistoryResponse(profile_id="last")

    profiles.read = read
    received = []
    async for response in histories.ReadHistory(ReadHistoryRequest()):
        running.stopping.set()
        received.append(response.profile_id)
    await running.task

    assert ["1", "last"] == received


async def test_a_call_that_does_not_finish_is_ended(
    start: Any, profiles: Any, request_: Any, lines: Any
) -> None:
    begun = asyncio.Event()

    async def get(_: Any) -> Profile:
        begun.set()
        return await asyncio.Future()

    profiles.get = get
    async with (
        start(drain_seconds=0.05) as running,
        grpc.aio.insecure_channel(running.server.address) as channel,
    ):
        stub: Any = profile_service_pb2_grpc.ProfileServiceStub(channel)
        calling = asyncio.ensure_future(
            stub.GetProfile(request_, metadata=(("authorization", "Bearer admin"),))
        )
        await begun.wait()
        running.stopping.set()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await calling
        await running.task
    codes = [line["code"] for line in lines() if line["event"] == "call refused"]

    assert failed.value.code() in {StatusCode.CANCELLED, StatusCode.UNAVAILABLE}
    assert ["CANCELLED"] == codes


async def test_a_port_that_is_taken_stops_the_start(running: Any, profiles: Any) -> None:
    add = profile_service_pb2_grpc.add_ProfileServiceServicer_to_server
    second = rpc.RpcServer(running.server.address, [(add, profiles)])

    with pytest.raises(RuntimeError, match="bind"):
        await second.start()


async def test_anybody_may_ask_for_health_and_the_contract(running: Any) -> None:
    async with rpc.open_channel(running.server.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        liveness = await health.Check(HealthCheckRequest(service="liveness"))
        reflected: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)]
        (answer,) = [answer async for answer in reflected.ServerReflectionInfo(ask)]
        files = [
            FileDescriptorProto.FromString(f) for f in answer.file_descriptor_response.file_descriptor_proto
        ]

    assert SERVING == liveness.status
    assert "tessera/profile/v1/profile_service.proto" in {file.name for file in files}


async def test_readiness_follows_the_checks(lines: Any) -> None:
    answers = {"database": True, "log": True}

    async def database() -> None:
        if not answers["database"]:
            raise ConnectionError("gone")

    async def log() -> None:
        if not answers["log"]:
            await asyncio.Future()

    health = Health({"database": database, "log": log}, [SERVICE], check_seconds=0.02)

    async def statuses() -> list[int]:
        asked = ("", "readiness", SERVICE, "liveness")
        return [(await health.Check(HealthCheckRequest(service=name), None)).status for name in asked]  # type: ignore[arg-type]

    unchecked = await statuses()
    seen = []
    for state in (
        {},
        {"database": False},
        {"database": False},
        {"log": False},
        {"database": True},
        {"log": True},
    ):
        answers |= state
        await health.check()
        seen.append((await statuses())[0])
    told = [(line["event"], line.get("failing")) for line in lines() if line["logger"] == "libs.rpc.health"]

    assert [NOT_SERVING, NOT_SERVING, NOT_SERVING, SERVING] == unchecked
    assert [SERVING, NOT_SERVING, NOT_SERVING, NOT_SERVING, NOT_SERVING, SERVING] == seen
    assert [
        ("ready", None),
        ("not ready", {"database": "ConnectionError: gone"}),
        ("not ready", {"database": "ConnectionError: gone", "log": "TimeoutError"}),
        ("not ready", {"log": "TimeoutError"}),
        ("ready", None),
    ] == told


async def test_watch_tells_each_change(start: Any) -> None:
    answers = asyncio.Event()

    async def check() -> None:
        if not answers.is_set():
            raise ConnectionError

    async with (
        start(checks={"database": check}) as running,
        rpc.open_channel(running.server.address) as channel,
    ):
        watching = health_pb2_grpc.HealthStub(channel).Watch(HealthCheckRequest(service=SERVICE))
        first = await watching.read()
        answers.set()
        second = await watching.read()
        answers.clear()
        third = await watching.read()
        running.stopping.set()
        end = await watching.read()

    assert [NOT_SERVING, SERVING, NOT_SERVING] == [first.status, second.status, third.status]
    assert grpc.aio.EOF == end


async def test_an_unknown_service_has_no_health(running: Any) -> None:
    async with rpc.open_channel(running.server.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await health.Check(HealthCheckRequest(service="nothing"))
        watching = health.Watch(HealthCheckRequest(service="nothing"))
        watched = await watching.read()
        watching.cancel()

    assert StatusCode.NOT_FOUND is failed.value.code()
    assert health_pb2.HealthCheckResponse.SERVICE_UNKNOWN == watched.status


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself."""
    key, chain = folder / "key.pem", folder / "chain.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    )
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True,
        capture_output=True,
    )
    return chain, key


async def test_a_server_with_a_certificate_speaks_tls_and_asks_for_one(
    start: Any, profiles: Any, request_: Any, tmp_path: Path
) -> None:
    async def get(_: Any) -> Profile:
        return Profile(profile_id="sealed")

    profiles.get = get
    chain, key = certificate(tmp_path)
    both = rpc.Tls(chain, key, chain)

    async def call(tls: rpc.Tls | None) -> Any:
        async with rpc.open_channel(running.server.address, api_key="admin", tls=tls, rng=None) as channel:
            return await profile_service_pb2_grpc.ProfileServiceStub(channel).GetProfile(
                request_, timeout=0.5
            )

    async with start(tls=both) as running:
        response = await call(both)
        for stranger in (None, rpc.Tls(ca_file=chain)):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(stranger)

    assert "sealed" == response.profile.profile_id


def test_tls_settings_that_say_nothing_mean_plain_text() -> None:
    assert rpc.Tls.of(None, None, None) is None
    with pytest.raises(ValueError, match="come together"):
        rpc.Tls.of(Path("chain.pem"), None, None)


def test_a_process_runs_on_uvloop() -> None:
    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert rpc.run(main()).startswith("uvloop")
