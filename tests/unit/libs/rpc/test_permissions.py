"""Who may call what."""

import hashlib
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc import StatusCode

from libs import rpc
from libs.errors import TesseraError
from libs.rpc.permissions import admit, all_services, permissions_of_all
from tessera.ingest.v1 import (
    import_service_pb2,
    import_service_pb2_grpc,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
)
from tessera.options.v1 import options_pb2
from tessera.profile.v1 import (
    history_service_pb2,
    history_service_pb2_grpc,
    profile_pb2,
    profile_service_pb2_grpc,
)
from tests.unit.libs.rpc.conftest import KEYS, api_keys

DIGEST = hashlib.sha256(b"secret").hexdigest()
KEY = f'{{"sha256": "{DIGEST}", "permissions": ["profile.read", "segment.*"]}}'


async def call_as(address: str, metadata: tuple[tuple[str, str], ...], request: Any) -> Any:
    async with rpc.open_channel(address) as channel:
        return await profile_service_pb2_grpc.ProfileServiceStub(channel).GetProfile(
            request, metadata=metadata
        )


@pytest.fixture(autouse=True)
def _answer(profiles: Any) -> None:
    async def get(_: Any) -> Any:
        return profile_pb2.Profile(profile_id=rpc.caller().name)

    profiles.get = get


@pytest.mark.parametrize("key", ["reader", "analyst", "admin"])
async def test_a_key_with_the_permission_is_admitted_and_named(running: Any, request_: Any, key: str) -> None:
    response = await call_as(running.server.address, (("authorization", f"Bearer {key}"),), request_)

    assert key == response.profile.profile_id


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ((), StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer nobody"),), StatusCode.UNAUTHENTICATED),
        ((("authorization", "reader"),), StatusCode.UNAUTHENTICATED),
        ((("authorization", "Basic reader"),), StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer "),), StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer stranger"),), StatusCode.PERMISSION_DENIED),
    ],
)
async def test_everybody_else_is_refused(
    running: Any, request_: Any, metadata: Any, code: StatusCode
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call_as(running.server.address, metadata, request_)

    assert code is failed.value.code()


@pytest.mark.parametrize(
    ("authorization", "reason", "words"),
    [
        ("", "KEY_MISSING", "an API key is needed"),
        ("Bearer nobody", "KEY_UNKNOWN", "nobody has this API key"),
        ("Bearer stranger", "PERMISSION_DENIED", "the key stranger lacks the permission profile.read"),
    ],
)
def test_a_caller_is_told_what_is_wrong_with_the_key(authorization: str, reason: str, words: str) -> None:
    with pytest.raises(TesseraError, match=words) as refused:
        admit("profile.read", authorization, api_keys(**KEYS))

    assert reason == refused.value.reason


async def test_a_stream_is_refused_as_well(running: Any) -> None:
    async with rpc.open_channel(running.server.address, api_key="stranger") as channel:
        stub: Any = history_service_pb2_grpc.HistoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.ReadHistory(history_service_pb2.ReadHistoryRequest()).read()

    assert StatusCode.PERMISSION_DENIED is failed.value.code()


async def test_without_keys_only_public_methods_answer(start: Any) -> None:
    class Ingest(ingest_service_pb2_grpc.IngestServiceServicer):
        async def CollectEvents(self, request: Any, context: Any) -> Any:  # noqa: N802
            return ingest_service_pb2.CollectEventsResponse(
                rejections=[ingest_service_pb2.Rejection(reason=rpc.caller().name)]
            )

    class Imports(import_service_pb2_grpc.ImportServiceServicer):
        pass

    add = ingest_service_pb2_grpc.add_IngestServiceServicer_to_server
    add_imports = import_service_pb2_grpc.add_ImportServiceServicer_to_server
    async with (
        start(services=[(add, Ingest()), (add_imports, Imports())], api_keys=None) as running,
        rpc.open_channel(running.server.address, api_key="admin") as channel,
    ):
        stub: Any = ingest_service_pb2_grpc.IngestServiceStub(channel)
        answer = await stub.CollectEvents(ingest_service_pb2.CollectEventsRequest())
        imports: Any = import_service_pb2_grpc.ImportServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await imports.ImportEvents(import_service_pb2.ImportEventsRequest())

    assert "anonymous" == answer.rejections[0].reason
    assert StatusCode.UNAUTHENTICATED is failed.value.code()


def method_of(package: str, permission: str = "", **options: bool) -> Any:
    """Make a contract with one service and one method."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto",
        package=package,
        dependency=["tessera/options/v1/options.proto"],
        syntax="proto3",
    )
    file.message_type.add(name="Nothing")
    method = file.service.add(name="TestService").method.add(
        name="Do", input_type=f".{package}.Nothing", output_type=f".{package}.Nothing", **options
    )
    if permission:
        method.options.Extensions[options_pb2.permission] = permission
    return file


@pytest.mark.parametrize(
    ("package", "permission", "streams", "problem"),
    [("bare", "", False, "Do names no permission"), ("streaming", "test.do", True, "Do takes a stream")],
)
def test_a_server_refuses_to_start_with_a_method_that_nothing_guards(
    package: str, permission: str, streams: bool, problem: str
) -> None:
    descriptor_pool.Default().Add(method_of(package, permission, client_streaming=streams))

    def add(_: object, server: Any) -> None:
        server.add_registered_method_handlers(f"{package}.TestService", {})

    with pytest.raises(ValueError, match=problem):
        rpc.RpcServer("127.0.0.1:0", [(add, object())])


def test_permissions_are_read_from_the_contract() -> None:
    permissions = permissions_of_all(["tessera.ingest.v1.IngestService", "tessera.ingest.v1.ImportService"])

    assert "public" == permissions["/tessera.ingest.v1.IngestService/CollectEvents"]
    assert "ingest.import" == permissions["/tessera.ingest.v1.ImportService/ImportEvents"]


def test_every_method_of_the_contracts_names_a_permission() -> None:
    services = all_services()

    assert {"tessera.ingest.v1.ImportService", "tessera.operations.v1.OperationService"} <= set(services)
    assert all(permissions_of_all([service]) for service in services)


@pytest.mark.parametrize(
    ("held", "permission", "may"),
    [
        ("profile.read", "profile.read", True),
        ("profile.read", "profile.write", False),
        ("profile.*", "profile.read", True),
        ("profile.*", "profiles.read", False),
        ("pro.*", "profile.read", False),
        ("*", "pii.read", True),
        ("profile.*", "pii.read", False),
    ],
)
def test_a_permission_covers_itself_or_its_area(held: str, permission: str, may: bool) -> None:
    assert may is rpc.Caller("someone", frozenset({held})).may(permission)


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(f'{{"shop": {KEY}}}')

    keys = rpc.ApiKeys.load(path)

    assert rpc.Caller("shop", frozenset({"profile.read", "segment.*"})) == keys.caller_of("Bearer secret")
    assert keys.caller_of("Bearer other") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "keys.json"),
        ("[]", "Expected `object`"),
        ('{"a": {"sha256": "xyz", "permissions": []}}', "sha256"),
        ('{"a": {"permissions": []}}', "missing required field `sha256`"),
        (f'{{"a": {{"sha256": "{DIGEST}", "permissions": ["public"]}}}}', "permissions"),
        (f'{{"a": {{"sha256": "{DIGEST}", "permissions": [], "key": "x"}}}}', "unknown field `key`"),
        (f'{{"a": {KEY}, "b": {KEY}}}', "b and a share one key"),
    ],
)
def test_a_malformed_file_of_keys_is_refused_with_the_place(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)

    with pytest.raises(ValueError, match=problem):
        rpc.ApiKeys.load(path)


def test_a_changed_file_of_keys_is_taken_up_within_a_second(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{}")
    now = 0.0
    keys = rpc.ApiKeys.load(path, lambda: now)

    path.write_text(f'{{"shop": {KEY}}}')
    now = 0.9
    early = keys.caller_of("Bearer secret")
    now = 1.0
    given = keys.caller_of("Bearer secret")
    path.write_text("{")
    now = 2.0
    broken = keys.caller_of("Bearer secret")
    path.unlink()
    now = 3.0
    gone = keys.caller_of("Bearer secret")
    path.write_text("{}")
    now = 4.0
    taken = keys.caller_of("Bearer secret")

    assert early is None
    assert given is not None
    assert given == broken == gone
    assert taken is None
