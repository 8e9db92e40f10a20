"""The other services, asked by gRPC."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import grpc

from libs.errors import Unavailable
from libs.rpc.status import DETAILS_KEY
from services.render.deciding import wire
from services.render.deciding.model import Advice, Wish
from services.render.model.people import Person
from tessera.profile.v1 import profile_service_pb2, profile_service_pb2_grpc
from tessera.recommend.v1 import recommend_service_pb2, recommend_service_pb2_grpc
from tessera.segment.v1 import membership_service_pb2, membership_service_pb2_grpc

# Mail can wait for what decides it, not for what adorns it.
_PATIENCE_SECONDS = 5.0
_ADVICE_SECONDS = 2.0


class GrpcNeighbours:
    """Profile, segment and recommend; the channels repeat what is worth it until the deadline."""

    def __init__(
        self, profile: grpc.aio.Channel, segment: grpc.aio.Channel, recommend: grpc.aio.Channel
    ) -> None:
        self._profile = profile_service_pb2_grpc.ProfileServiceStub(profile)
        self._segment = membership_service_pb2_grpc.MembershipServiceStub(segment)
        self._recommend = recommend_service_pb2_grpc.RecommendServiceStub(recommend)

    async def people(self, profile_ids: Collection[str]) -> dict[str, Person]:
        found: dict[str, Person] = {}
        waiting = [sorted(set(profile_ids))]
        while waiting:
            asked = waiting.pop()
            try:
                response = await self._profiles(asked)
            except _TooMuch as much:
                # Less at a time: one who is large must cost nobody else.
                half = len(asked) // 2
                if half:
                    waiting += [asked[:half], asked[half:]]
                else:
                    found[asked[0]] = wire.unreadable(asked[0], much.message)
                continue
            found |= {one: wire.person_of(profile) for one, profile in response.profiles.items()}
            remaining = list(response.remaining_profile_ids)
            if len(remaining) >= len(asked):
                # Nobody was answered: to ask the same again would not end.
                found |= {one: wire.unreadable(one, "profile leaves it out") for one in remaining}
            elif remaining:
                waiting.append(remaining)
        return found

    async def _profiles(self, asked: list[str]) -> profile_service_pb2.BatchGetProfilesResponse:
        request = profile_service_pb2.BatchGetProfilesRequest(profile_ids=asked)
        call = self._profile.BatchGetProfiles(request, timeout=_PATIENCE_SECONDS)
        response: profile_service_pb2.BatchGetProfilesResponse = await _asked(call)
        return response

    async def segments(self, profile_ids: Collection[str]) -> dict[str, list[str]]:
        request = membership_service_pb2.GetMembershipsRequest(profile_ids=sorted(set(profile_ids)))
        response = await _asked(self._segment.GetMemberships(request, timeout=_PATIENCE_SECONDS))
        found: dict[str, list[str]] = defaultdict(list)
        for membership in response.memberships:
            found[membership.profile_id].append(membership.segment_id)
        return found

    async def advice(self, wishes: Sequence[Wish]) -> list[Advice]:
        request = recommend_service_pb2.BatchRecommendRequest(requests=map(wire.request_of, wishes))
        response = await _asked(self._recommend.BatchRecommend(request, timeout=_ADVICE_SECONDS))
        return list(map(wire.advice_of, response.responses))


class _TooMuch(Unavailable):
    """The answer is larger than a message may be."""


def _is_too_large(error: grpc.aio.AioRpcError) -> bool:
    """Whether gRPC itself says so. A server that has too much to do gives details."""
    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return False
    return all(key != DETAILS_KEY for key, _ in error.trailing_metadata() or ())


async def _asked(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if _is_too_large(error):
            raise _TooMuch(f"{error.details()}") from error
        # Also where a key or a setting is wrong: no transition may be given up because of that.
        raise Unavailable(f"{error.code().name}: {error.details()}") from error
