"""What a caller learns of an error."""

import asyncio
import base64
import re
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc import StatusCode
from grpc_status import rpc_status

from libs import errors, rpc
from libs.repeats import Repeats
from libs.rpc.status import STATUS_OF, refusal
from tessera.profile.v1 import profile_service_pb2_grpc
from tessera.profile.v1.history_service_pb2 import ReadHistoryRequest, ReadHistoryResponse
from tests.unit.libs.rpc.conftest import Pauses

EACH_ERROR = [
    (errors.Invalid("user.email", "has no @"), StatusCode.INVALID_ARGUMENT),
    (errors.NotFound("no profile 7", profile_id=7), StatusCode.NOT_FOUND),
    (errors.AlreadyExists("there is a profile 7", profile_id=7), StatusCode.ALREADY_EXISTS),
    (errors.Conflict("it has changed", revision=3), StatusCode.ABORTED),
    (errors.FailedPrecondition("not yet", revision=3), StatusCode.FAILED_PRECONDITION),
    (errors.Unauthenticated("who are you?"), StatusCode.UNAUTHENTICATED),
    (errors.PermissionDenied("not for you", permission="x.y"), StatusCode.PERMISSION_DENIED),
    (errors.ResourceExhausted("slower", limit=10), StatusCode.RESOURCE_EXHAUSTED),
    (errors.Unavailable("no database"), StatusCode.UNAVAILABLE),
]


def test_every_error_has_a_status_of_its_own() -> None:
    assert set(errors.TesseraError.__subclasses__()) == set(STATUS_OF)
    assert len(STATUS_OF) == len(set(STATUS_OF.values()))


@pytest.mark.parametrize(("error", "code"), EACH_ERROR, ids=lambda value: type(value).__name__)
async def test_an_error_arrives_as_it_was_raised(
    profiles: Any, stub: Any, request_: Any, error: errors.TesseraError, code: StatusCode
) -> None:
    async def get(_: Any) -> Any:
        raise error

    profiles.get = get
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetProfile(request_)
    status = rpc_status.from_call(failed.value)
    info = ErrorInfo()
    status.details[0].Unpack(info)
    actual = rpc.error_from(failed.value)

    assert code is failed.value.code()
    assert (error.reason, "profile.tessera", error.metadata) == (
        info.reason,
        info.domain,
        dict(info.metadata),
    )
    assert (type(error), error.message, error.metadata) == (type(actual), actual.message, actual.metadata)


@pytest.mark.parametrize("error", [errors.ResourceExhausted("slower"), errors.Unavailable("no database")])
async def test_what_may_succeed_later_tells_after_how_long(
    profiles: Any, stub: Any, request_: Any, error: errors.TesseraError
) -> None:
    async def get(_: Any) -> Any:
        raise error

    profiles.get = get
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetProfile(request_)
    status = rpc_status.from_call(failed.value)
    told = RetryInfo()

    assert status.details[-1].Unpack(told)
    assert error.retry_seconds == told.retry_delay.ToTimedelta().total_seconds()


async def test_an_invalid_field_keeps_its_name_and_problem(profiles: Any, stub: Any, request_: Any) -> None:
    async def get(_: Any) -> Any:
        raise errors.Invalid("user.email", "has no @")

    profiles.get = get
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetProfile(request_)
    actual = rpc.error_from(failed.value)

    assert isinstance(actual, errors.Invalid)
    assert ("user.email", "has no @") == (actual.field, actual.problem)


async def test_a_wrong_field_is_named_for_tools_that_know_nothing_of_us(
    profiles: Any, stub: Any, request_: Any
) -> None:
    async def get(_: Any) -> Any:
        raise errors.Malformed("user.email", "has no @", column=3)

    profiles.get = get
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetProfile(request_)
    status = rpc_status.from_call(failed.value)
    info, bad = ErrorInfo(), BadRequest()
    status.details[0].Unpack(info)
    status.details[1].Unpack(bad)

    assert ("MALFORMED", {"field": "user.email", "column": "3"}) == (info.reason, dict(info.metadata))
    assert [("user.email", "has no @")] == [(each.field, each.description) for each in bad.field_violations]


async def test_a_request_that_is_no_such_message_is_the_caller_s_mistake(channel: Any, lines: Any) -> None:
    get = channel.unary_unary("/tessera.profile.v1.ProfileService/GetProfile")
    read = channel.unary_stream("/tessera.profile.v1.HistoryService/ReadHistory")
    for call in (get(b"\xff"), read(b"\xff").read()):
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call

        assert StatusCode.INVALID_ARGUMENT is failed.value.code()
        assert "request: is not the message that this method takes" in failed.value.details()
    assert 2 == len([line for line in lines() if line["event"] == "call refused"])


async def test_a_subclass_of_an_error_has_its_status_and_its_own_reason(
    profiles: Any, stub: Any, request_: Any
) -> None:
    class NoSuchModel(errors.NotFound):
        reason = "NO_SUCH_MODEL"

    async def get(_: Any) -> Any:
        raise NoSuchModel("no model")

    profiles.get = get
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetProfile(request_)

    assert StatusCode.NOT_FOUND is failed.value.code()
    assert b"NO_SUCH_MODEL" in dict(failed.value.trailing_metadata())["grpc-status-details-bin"]
    assert errors.NotFound is type(rpc.error_from(failed.value))


@pytest.mark.parametrize(
    "error", [RuntimeError("secret"), errors.TesseraError("secret"), TimeoutError("secret")]
)
async def test_an_unforeseen_error_hides_its_detail(
    profiles: Any, stub: Any, request_: Any, lines: Any, error: Exception
) -> None:
    async def get(_: Any) -> Any:
        raise error

    profiles.get = get
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetProfile(request_)
    (line,) = [line for line in lines() if line["event"] == "call failed"]

    assert StatusCode.INTERNAL is failed.value.code()
    assert "secret" not in repr(failed.value)
    assert "secret" not in repr(list(failed.value.trailing_metadata()))
    assert errors.TesseraError is type(rpc.error_from(failed.value))
    assert ("error", "INTERNAL") == (line["level"], line["code"])
    assert re.search(r"Traceback.*in get\n.*secret", line["exception"], re.DOTALL)


async def test_a_status_that_the_handler_chose_itself_stands(
    running: Any, profiles: Any, stub: Any, request_: Any, lines: Any
) -> None:
    async def get(context: Any) -> Any:
        await context.abort(StatusCode.OUT_OF_RANGE, "too far")

    profiles.get = get
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetProfile(request_)

    running.stopping.set()
    await running.task  # the caller may know before the line is written
    codes = [line["code"] for line in lines() if line["event"] == "call refused"]

    assert (StatusCode.OUT_OF_RANGE, "too far") == (failed.value.code(), failed.value.details())
    assert ["OUT_OF_RANGE"] == codes


async def test_what_every_caller_hears_in_an_outage_is_logged_once_in_a_while(
    profiles: Any, start: Any, request_: Any, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.rpc.access_log._unavailable", Repeats())

    async def get(_: Any) -> Any:
        raise ConnectionRefusedError("no database")

    profiles.get = get
    async with (
        start(is_transient=lambda error: isinstance(error, OSError)) as running,
        rpc.open_channel(running.server.address, api_key="analyst", rng=Pauses(1e9)) as channel,
    ):
        stub: Any = profile_service_pb2_grpc.ProfileServiceStub(channel)
        for _ in range(50):
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetProfile(request_, timeout=1)
    told = [line for line in lines() if line.get("code") == "UNAVAILABLE"]

    assert [("call refused", 0)] == [(line["event"], line["suppressed"]) for line in told]
    assert "no database" in told[0]["reason"]
    assert "exception" not in told[0]


async def test_a_message_too_long_for_a_header_is_cut(profiles: Any, stub: Any, request_: Any) -> None:
    wide = "\N{WOMAN}" * 10_000

    async def get(_: Any) -> Any:
        raise errors.NotFound(wide, **{f"name{number}": wide for number in range(99)})

    profiles.get = get
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.GetProfile(request_)
    error = rpc.error_from(failed.value)
    details = refusal(error).details
    invalid = refusal(errors.Invalid(wide, wide, **{f"name{number}": wide for number in range(99)}))

    assert isinstance(error, errors.NotFound)
    assert ("\N{WOMAN}" * 150, "\N{WOMAN}" * 50) == (error.message, error.metadata["name0"])
    assert 6000 > len(quote(error.message)) + len(base64.b64encode(details))
    assert 7000 > len(quote(invalid.message)) + len(base64.b64encode(invalid.details))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (StatusCode.UNAVAILABLE, errors.Unavailable),
        (StatusCode.DEADLINE_EXCEEDED, errors.Unavailable),
        (StatusCode.NOT_FOUND, errors.NotFound),
        (StatusCode.INVALID_ARGUMENT, errors.Invalid),
        (StatusCode.UNKNOWN, errors.TesseraError),
    ],
)
def test_a_status_without_details_is_told_by_its_code(code: StatusCode, kind: type[Exception]) -> None:
    bare = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "words")
    garbled = grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff")), "words"
    )

    assert kind is type(rpc.error_from(bare))
    assert kind is type(rpc.error_from(garbled))


async def test_a_stream_that_fails_delivers_what_it_had(profiles: Any, histories: Any) -> None:
    async def generate(_: Any, __: Any) -> Any:
        yield ReadHistoryResponse(profile_id="1")
        raise errors.Conflict("it has changed")

    async def write(_: Any, context: Any) -> None:
        await context.write(ReadHistoryResponse(profile_id="1"))
        raise errors.Conflict("it has changed")

    for profiles.read in (generate, write):
        call = histories.ReadHistory(ReadHistoryRequest())
        first = await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call.read()

        assert "1" == first.profile_id
        assert isinstance(rpc.error_from(failed.value), errors.Conflict)


async def test_both_styles_of_stream_end_well(profiles: Any, histories: Any) -> None:
    async def generate(_: Any, __: Any) -> Any:
        for number in range(3):
            yield ReadHistoryResponse(profile_id=str(number))

    async def write(_: Any, context: Any) -> None:
        for number in range(3):
            await context.write(ReadHistoryResponse(profile_id=str(number)))

    for profiles.read in (generate, write):
        received = [response.profile_id async for response in histories.ReadHistory(ReadHistoryRequest())]

        assert ["0", "1", "2"] == received


async def test_a_stream_whose_reader_leaves_is_closed(profiles: Any, histories: Any, lines: Any) -> None:
    closed = asyncio.Event()

    async def generate(_: Any, __: Any) -> Any:
        try:
            yield ReadHistoryResponse(profile_id="1")
            await asyncio.Event().wait()
        finally:
            closed.set()

    profiles.read = generate
    call = histories.ReadHistory(ReadHistoryRequest())
    await call.read()
    call.cancel()
    await asyncio.wait_for(closed.wait(), 5)
    codes = [line["code"] for line in lines() if line["event"] == "call refused"]

    assert ["CANCELLED"] == codes
