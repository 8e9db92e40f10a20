"""The other services, asked by gRPC."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import grpc

from libs.errors import Unavailable
from services.render.deciding import wire
from services.render.deciding.model import Advice
from services.render.model.people import Person
from tessera.profile.v1 import profile_service_pb2, profile_service_pb2_grpc
from tessera.recommend.v1 import recommend_service_pb2, recommend_service_pb2_grpc
from tessera.segment.v1 import segment_service_pb2, segment_service_pb2_grpc

# Mail can wait for what decides it, not for what adorns it.
_PATIENCE_SECONDS = 5.0
_ADVICE_SECONDS = 2.0


class GrpcNeighbours:
    """Profile, segment and recommend; the channels repeat what is worth it until the deadline."""

    def __init__(
        self, profile: grpc.aio.Channel, segment: grpc.aio.Channel, recommend: grpc.aio.Channel
    ) -> None:
        self._profile = profile_service_pb2_grpc.ProfileServiceStub(profile)
        self._segment = segment_service_pb2_grpc.SegmentServiceStub(segment)
        self._recommend = recommend_service_pb2_grpc.RecommendServiceStub(recommend)

    async def people(self, profile_ids: Collection[str]) -> dict[str, Person]:
        request = profile_service_pb2.BatchGetProfilesRequest(profile_ids=sorted(set(profile_ids)))
        response = await _asked(self._profile.BatchGetProfiles(request, timeout=_PATIENCE_SECONDS))
        return {asked: wire.person_of(profile) for asked, profile in response.profiles.items()}

    async def segments(self, profile_ids: Collection[str]) -> dict[str, list[str]]:
        request = segment_service_pb2.GetMembershipsRequest(profile_ids=sorted(set(profile_ids)))
        response = await _asked(self._segment.GetMemberships(request, timeout=_PATIENCE_SECONDS))
        found: dict[str, list[str]] = defaultdict(list)
        for membership in response.memberships:
            found[membership.profile_id].append(membership.segment_id)
        return found

    async def advice(self, profile_ids: Collection[str], limit: int) -> dict[str, Advice]:
        asked = sorted(set(profile_ids))
        request = recommend_service_pb2.BatchRecommendRequest(
            requests=[
                recommend_service_pb2.RecommendRequest(
                    profile_id=profile_id, limit=limit, exclude_purchased=True, exclude_in_cart=True
                )
                for profile_id in asked
            ]
        )
        response = await _asked(self._recommend.BatchRecommend(request, timeout=_ADVICE_SECONDS))
        advice = map(wire.advice_of, response.responses)
        return dict(zip(asked, advice, strict=True))


async def _asked(call: Any) -> Any:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        # Also where a key or a setting is wrong: no transition may be given up because of that.
        raise Unavailable(f"{error.code().name}: {error.details()}") from error
