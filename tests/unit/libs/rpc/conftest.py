"""A real server with the profile service, whose answers each test chooses, and a channel to it."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from libs import rpc
from tessera.profile.v1 import (
    history_service_pb2_grpc,
    profile_pb2,
    profile_service_pb2,
    profile_service_pb2_grpc,
)

Get = Callable[[Any], Awaitable[profile_pb2.Profile]]
Read = Callable[[Any, Any], Any]

KEYS = {
    "reader": ("profile.read", "profile.history"),
    "analyst": ("profile.*", "pii.read"),
    "admin": ("*",),
    "stranger": ("segment.read",),
}


class Profiles(profile_service_pb2_grpc.ProfileServiceServicer):
    """Answers `GetProfile` with `get`, `BatchGetProfiles` with `batch`; `Histories` with `read`."""

    def __init__(self) -> None:
        self.get: Get
        self.read: Read
        self.batch: Read
        self.metadata: list[dict[str, Any]] = []

    async def GetProfile(self, request: Any, context: Any) -> profile_service_pb2.GetProfileResponse:  # noqa: N802
        self.metadata.append(dict(context.invocation_metadata()))
        return profile_service_pb2.GetProfileResponse(profile=await self.get(context))

    async def BatchGetProfiles(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await self.batch(request, context)

    ListProfiles = None


class Histories(history_service_pb2_grpc.HistoryServiceServicer):
    """Answers `ReadHistory` with the profiles' `read`."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    def ReadHistory(self, request: Any, context: Any) -> Any:  # noqa: N802
        return self._profiles.read(request, context)

    ListEvents = ListUnassignedEvents = ResendProfiles = None


@dataclass
class Running:
    """A server that runs, and how to stop it."""

    server: rpc.RpcServer
    stopping: asyncio.Event
    task: asyncio.Task[None]


def api_keys(**permissions: tuple[str, ...]) -> rpc.ApiKeys:
    """Return keys where each caller's key is its name."""
    return rpc.ApiKeys(
        {
            hashlib.sha256(name.encode()).hexdigest(): rpc.Caller(name, frozenset(held))
            for name, held in permissions.items()
        }
    )


@pytest.fixture
def profiles() -> Profiles:
    return Profiles()


@pytest.fixture
def start(profiles: Profiles) -> Callable[..., AbstractAsyncContextManager[Running]]:
    """Return what starts a server, with options of `RpcServer`, and drains it at the end."""

    @asynccontextmanager
    async def started(**options: Any) -> AsyncIterator[Running]:
        services = [
            (profile_service_pb2_grpc.add_ProfileServiceServicer_to_server, profiles),
            (history_service_pb2_grpc.add_HistoryServiceServicer_to_server, Histories(profiles)),
        ]
        defaults = {"services": services, "api_keys": api_keys(**KEYS)}
        defaults |= {"address": "127.0.0.1:0", "drain_seconds": 30.0}
        server = rpc.RpcServer(**(defaults | options))
        await server.start()
        stopping = asyncio.Event()
        task = asyncio.create_task(server.run(stopping))
        try:
            yield Running(server, stopping, task)
        finally:
            stopping.set()
            await task

    return started


@pytest.fixture
async def running(start: Callable[..., AbstractAsyncContextManager[Running]]) -> AsyncIterator[Running]:
    async with start() as running:
        yield running


class Pauses(random.Random):
    """Draws the same pause each time, and counts them."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.drawn = 0

    def uniform(self, a: float, b: float) -> float:
        self.drawn += 1
        return self.seconds


@pytest.fixture
async def channel(running: Running) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of the analyst's which does not repeat calls: the pause is longer than any deadline."""
    async with rpc.open_channel(running.server.address, api_key="analyst", rng=Pauses(1e9)) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return profile_service_pb2_grpc.ProfileServiceStub(channel)


@pytest.fixture
def histories(channel: grpc.aio.Channel) -> Any:
    return history_service_pb2_grpc.HistoryServiceStub(channel)


@pytest.fixture
def request_() -> profile_service_pb2.GetProfileRequest:
    return profile_service_pb2.GetProfileRequest(profile_id="p")
