"""Reads histories from profile, in portions that end in time."""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Generic, TypeVar

import grpc

from libs import rpc
from libs.errors import Unavailable
from libs.profile_feed.ports import HistoryPart
from libs.profile_feed.revisions import Step
from tessera.profile.v1 import history_pb2, history_service_pb2, history_service_pb2_grpc

S = TypeVar("S", bound=Step)

# The reader's transaction is open meanwhile, and PostgreSQL ends one that stands idle for ten seconds.
SECONDS = 4.0

# What says nothing of the person that was asked for: whoever asks waits until profile answers well.
_NOBODYS = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class ProfileHistories(Generic[S]):
    """Histories by profile's ReadHistory.

    The caller's key needs `pii.read` beside `profile.history`: without it profile leaves out what rules
    and models are about.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        read_step: Callable[[history_pb2.HistoryStep], S],
        seconds: float = SECONDS,
    ) -> None:
        """`read_step` puts a step into the service's own words, and may raise where it can't."""
        self._stub = history_service_pb2_grpc.HistoryServiceStub(channel)
        self._read_step = read_step
        self._seconds = seconds

    async def read(self, after: Mapping[str, int]) -> AsyncIterator[HistoryPart[S]]:
        ends = time.monotonic() + self._seconds
        finished: set[str] = set()
        progress = dict(after)
        try:
            async for part in self._parts(progress, ends, finished):
                yield part
        except grpc.aio.AioRpcError as error:
            left = [profile_id for profile_id in after if profile_id not in finished]
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                if progress == after and not finished:
                    # Not even one portion: the next call shall not be spent on the same person.
                    yield HistoryPart(left[0], problem=f"profile's history: nothing in {self._seconds:g} s")
                return
            if error.code() in _NOBODYS:
                raise _unavailable(error) from error
            # One of them is at fault: each by itself, behind what has come.
            for profile_id in left:
                async for part in self._alone(profile_id, progress[profile_id], ends):
                    yield part

    async def _alone(self, profile_id: str, after: int, ends: float) -> AsyncIterator[HistoryPart[S]]:
        try:
            async for part in self._parts({profile_id: after}, ends, set()):
                yield part
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                return
            if error.code() in _NOBODYS:
                raise _unavailable(error) from error
            yield HistoryPart(profile_id, problem=f"profile's history: {rpc.error_from(error)}")

    async def _parts(
        self, progress: dict[str, int], ends: float, finished: set[str]
    ) -> AsyncIterator[HistoryPart[S]]:
        """The parts as they come; `progress` and `finished` say how far that is."""
        request = history_service_pb2.ReadHistoryRequest(
            profile_ids=progress,
            after_revisions={profile_id: revision for profile_id, revision in progress.items() if revision},
        )
        left = ends - time.monotonic()
        if left <= 0:
            return
        async for part in self._stub.ReadHistory(request, timeout=left):
            if part.profile_id in finished:
                continue
            read = self._read(part)
            if read.steps:
                progress[part.profile_id] = read.steps[-1].revision
            if read.problem or read.revision is not None:
                finished.add(part.profile_id)
            yield read

    def _read(self, part: history_service_pb2.ReadHistoryResponse) -> HistoryPart[S]:
        try:
            steps = [self._read_step(step) for step in part.steps]
        except Exception as error:  # whatever it is, it is this person's alone
            return HistoryPart(part.profile_id, problem=f"a step can't be read: {error!r}")
        return HistoryPart(part.profile_id, steps, part.revision if part.HasField("revision") else None)


def _unavailable(error: grpc.aio.AioRpcError) -> Unavailable:
    return Unavailable(f"profile's history: {rpc.error_from(error)}")
