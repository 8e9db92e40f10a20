"""`tessera operations`: what is at work in which service, and its end."""

import json

import grpc
import pytest
from typer.testing import CliRunner, Result

from cli import main
from libs.errors import NotFound
from tessera.operations.v1 import operation_service_pb2 as pb
from tessera.operations.v1 import set_aside_service_pb2 as set_aside_pb
from tessera.operations.v1.operation_pb2 import Operation, OperationState
from tests.unit.cli.served import Refusal, Served

_IMPORT = Operation(
    operation_id="op",
    kind="ingest.import",
    subject="shop",
    state=OperationState.OPERATION_STATE_RUNNING,
    done=1200,
    total=5000,
    detail="history.jsonl",
)


def _run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(main.app, ["operations", *arguments])


def _get(request: pb.GetOperationRequest) -> pb.GetOperationResponse:
    if request.operation_id != "op":
        raise Refusal(grpc.StatusCode.NOT_FOUND, "there is no such operation")
    return pb.GetOperationResponse(operation=_IMPORT)


@pytest.fixture
def operations(served: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """Ingest alone, with an import at work."""
    for service in ("SEGMENT", "RECOMMEND"):
        monkeypatch.delenv(f"{service}_ADDRESS")
    served.answer(
        "tessera.operations.v1.OperationService",
        ListOperations=lambda _: pb.ListOperationsResponse(operations=[_IMPORT]),
        GetOperation=_get,
        CancelOperation=lambda _: pb.CancelOperationResponse(
            operation=Operation(**{**_fields(_IMPORT), "cancel_requested": True})
        ),
    )
    return served


def _fields(operation: Operation) -> dict[str, object]:
    return {field.name: value for field, value in operation.ListFields()}


def test_what_is_at_work_is_listed_with_how_far_it_is(operations: Served) -> None:
    told = _run("list", "--running").stdout

    assert "op         ingest.import shop  running, 1,200 of 5,000" in told
    assert [OperationState.OPERATION_STATE_RUNNING] == [one.state for one in operations.requests]
    assert ["op"] == [one["operation_id"] for one in json.loads(_run("list", "--json").stdout)]


def test_an_operation_is_asked_to_end_where_it_is(operations: Served) -> None:
    told = _run("cancel", "op")

    assert "ingest.import shop: running, asked to end" in told.stdout
    assert ["op", "op"] == [one.operation_id for one in operations.requests]


def test_what_no_service_knows_is_said(operations: Served) -> None:
    assert isinstance(_run("cancel", "other").exception, NotFound)


def test_who_is_set_aside_is_listed_by_service_and_rebuilt(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    torn = set_aside_pb.SetAsideProfile(profile_id="p1", reason="the state can't be read", attempts=2)
    served.answer(
        "tessera.operations.v1.SetAsideService",
        ListSetAsideProfiles=lambda _: set_aside_pb.ListSetAsideProfilesResponse(profiles=[torn]),
        RebuildProfiles=lambda _: set_aside_pb.RebuildProfilesResponse(),
    )
    told = _run("set-aside").stdout
    asked = _run("rebuild", "p1").stdout

    assert 2 == told.count("the state can't be read")
    assert [("p1", "segment"), ("p1", "recommend")] == [
        (one["profile_id"], one["service"]) for one in json.loads(_run("set-aside", "--json").stdout)
    ]
    assert "1 will be computed anew by segment and recommend" in asked
