"""Histories over gRPC: in portions, behind what came, and each person for themselves."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from libs import rpc
from libs.errors import Unavailable
from libs.profile_feed import HistoryPart, ProfileHistories
from tessera.profile.v1 import history_pb2, history_service_pb2_grpc
from tessera.profile.v1 import history_service_pb2 as pb

ADA, BOB, EVE = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
Told = history_pb2.HistoryStep


class Profile(history_service_pb2_grpc.HistoryServiceServicer):
    """Tells histories one step a part; may refuse some people, and takes its time."""

    def __init__(self, lengths: dict[str, int]) -> None:
        self.lengths = lengths
        self.refused: dict[str, grpc.StatusCode] = {}
        self.sent_at_once = 1_000_000
        self.told = 0

    async def ReadHistory(  # noqa: N802 - the contract's name
        self, request: pb.ReadHistoryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ReadHistoryResponse]:
        sent = 0
        for profile_id in request.profile_ids:
            if profile_id in self.refused:
                await context.abort(self.refused[profile_id], "no")
            length = self.lengths.get(profile_id, 0)
            for number in range(request.after_revisions.get(profile_id, 0) + 1, length + 1):
                if sent == self.sent_at_once:
                    await asyncio.sleep(60)
                sent += 1
                self.told += 1
                step = Told(profile_id=profile_id, revision=number)
                yield pb.ReadHistoryResponse(profile_id=profile_id, steps=[step])
            yield pb.ReadHistoryResponse(profile_id=profile_id, revision=length)


@asynccontextmanager
async def _reading(profile: Profile, seconds: float = 20, **how: Any) -> AsyncIterator[ProfileHistories[Any]]:
    server = grpc.aio.server()
    history_service_pb2_grpc.add_HistoryServiceServicer_to_server(profile, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with rpc.open_channel(f"127.0.0.1:{port}") as channel:
            yield ProfileHistories(channel, how.get("read_step", lambda step: step), seconds)
    finally:
        await server.stop(None)


async def _read(histories: ProfileHistories[Any], after: dict[str, int]) -> list[HistoryPart[Any]]:
    return [part async for part in histories.read(after)]


def _told(parts: list[HistoryPart[Any]]) -> list[tuple[str, list[int], int | None]]:
    return [(p.profile_id, [step.revision for step in p.steps], p.revision) for p in parts]


async def test_a_history_is_read_behind_a_revision() -> None:
    async with _reading(Profile({ADA: 3, BOB: 2})) as histories:
        parts = await _read(histories, {ADA: 2, BOB: 0, EVE: 0})

    expected = [(ADA, [3], None), (ADA, [], 3), (BOB, [1], None), (BOB, [2], None), (BOB, [], 2)]
    assert [*expected, (EVE, [], 0)] == _told(parts)


async def test_a_rebuild_that_takes_longer_than_its_deadline_goes_on_behind_what_came() -> None:
    profile = Profile({ADA: 7})
    profile.sent_at_once = 3
    read: list[int] = []
    async with _reading(profile, seconds=0.5) as histories:
        while not read or read[-1] < 7:
            parts = await _read(histories, {ADA: read[-1] if read else 0})
            read += [step.revision for part in parts for step in part.steps]

    assert [1, 2, 3, 4, 5, 6, 7] == read
    assert 7 == profile.told


async def test_whose_history_does_not_even_begin_in_time_is_named() -> None:
    profile = Profile({ADA: 7})
    profile.sent_at_once = 0
    async with _reading(profile, seconds=0.3) as histories:
        (part,) = await _read(histories, {ADA: 0, BOB: 0})

    assert (ADA, True) == (part.profile_id, bool(part.problem))


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT])
async def test_whose_history_profile_cannot_tell_costs_nobody_else(code: grpc.StatusCode) -> None:
    profile = Profile({ADA: 1, BOB: 2, EVE: 1})
    profile.refused[BOB] = code
    async with _reading(profile) as histories:
        parts = await _read(histories, {ADA: 0, BOB: 0, EVE: 0})

    assert [BOB] == [part.profile_id for part in parts if part.problem]
    assert [(ADA, [1], None), (ADA, [], 1), (EVE, [1], None), (EVE, [], 1)] == [
        told for told in _told(parts) if told[0] != BOB
    ]


async def test_a_step_that_cannot_be_read_costs_nobody_else() -> None:
    def read_step(step: Told) -> Told:
        if (step.profile_id, step.revision) == (ADA, 2):
            raise ValueError("dirt")
        return step

    async with _reading(Profile({ADA: 3, BOB: 1}), read_step=read_step) as histories:
        parts = await _read(histories, {ADA: 0, BOB: 0})

    assert [(ADA, "a step can't be read: ValueError('dirt')")] == [
        (p.profile_id, p.problem) for p in parts if p.problem
    ]
    assert [(BOB, [1], None), (BOB, [], 1)] == [told for told in _told(parts) if told[0] == BOB]


@pytest.mark.parametrize(
    "code",
    [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE],
)
async def test_what_profile_refuses_to_everybody_is_nobodys_fault(code: grpc.StatusCode) -> None:
    profile = Profile({})
    profile.refused[ADA] = code
    async with _reading(profile) as histories:
        with pytest.raises(Unavailable, match="profile's history"):
            await _read(histories, {ADA: 0})
