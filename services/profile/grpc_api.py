"""The gRPC API of profile."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from libs import rpc
from libs.errors import Required
from libs.ids import uuid_text, uuid_texts
from services.profile import convert
from services.profile.handlers import Profiles
from tessera.ingest.v1 import ingest_events_pb2
from tessera.profile.v1 import profile_service_pb2 as pb
from tessera.profile.v1 import profile_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_NEWEST = 1 << 62
_FIRST = "00000000-0000-0000-0000-000000000000"
_MOST_IDS = 1000
# A step may hold half a megabyte of events.
_STEPS_AT_ONCE = 20


class ProfileServicer(profile_service_pb2_grpc.ProfileServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles

    async def GetProfile(self, request: pb.GetProfileRequest, context: Context) -> pb.GetProfileResponse:
        by = request.WhichOneof("by")
        if by is None:
            raise Required("profile_id", "is required, or identifier")
        if by == "identifier":
            identifier = convert.identifier_of(request.identifier)
            profile = await self._profiles.find(identifier, request.min_revision)
        else:
            profile_id = uuid_text(request.profile_id, "profile_id")
            profile = await self._profiles.get(profile_id, request.min_revision)
        return pb.GetProfileResponse(profile=convert.profile_pb(profile))

    async def BatchGetProfiles(
        self, request: pb.BatchGetProfilesRequest, context: Context
    ) -> pb.BatchGetProfilesResponse:
        profiles = await self._profiles.batch(uuid_texts(request.profile_ids, "profile_ids", _MOST_IDS))
        return pb.BatchGetProfilesResponse(
            profiles={asked: convert.profile_pb(profile) for asked, profile in profiles.items()}
        )

    async def ListProfiles(
        self, request: pb.ListProfilesRequest, context: Context
    ) -> pb.ListProfilesResponse:
        size = rpc.page_size(request.page_size, 50, 1000)
        (after,) = rpc.decode_token(request.page_token, "profiles", tuple[str]) or (_FIRST,)
        profiles, total = await self._profiles.page(uuid_text(after, "page_token"), size)
        token = rpc.encode_token("profiles", profiles[-1].profile_id) if len(profiles) == size else ""
        return pb.ListProfilesResponse(
            profiles=[convert.profile_pb(p) for p in profiles], next_page_token=token, total_size=total
        )

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        profile_id = uuid_text(request.profile_id, "profile_id")
        events_of = f"events/{profile_id}"
        start = rpc.decode_token(request.page_token, events_of, tuple[int, int])
        revision, place = start or (_NEWEST, _NEWEST)
        found: list[tuple[int, int, ingest_events_pb2.EventCollected]] = []
        # A step holds at least no event and at most many: read steps until the page is full.
        before = revision + 1
        while len(found) <= size:
            steps = await self._profiles.steps(profile_id, before, _STEPS_AT_ONCE)
            for step in steps:
                events = list(enumerate(convert.events_in(step.body)))
                found += [(step.revision, i, event) for i, event in reversed(events)]
            found = [entry for entry in found if entry[:2] < (revision, place)]
            if len(steps) < _STEPS_AT_ONCE:
                break
            before = steps[-1].revision
        page = found[:size]
        token = rpc.encode_token(events_of, *page[-1][:2]) if len(found) > size else ""
        return pb.ListEventsResponse(events=[event for *_, event in page], next_page_token=token)

    async def ReadHistory(
        self, request: pb.ReadHistoryRequest, context: Context
    ) -> AsyncIterator[pb.ReadHistoryResponse]:
        ids = uuid_texts(request.profile_ids, "profile_ids", _MOST_IDS)
        async for part in self._profiles.histories(ids, request.after_revisions):
            steps = [(step.revision, step.moved, step.body) for step in part.steps]
            yield pb.ReadHistoryResponse(
                profile_id=part.profile_id,
                updates=convert.updates_pb(part.profile_id, steps),
                revision=part.revision,
            )

    async def ResendProfiles(
        self, request: pb.ResendProfilesRequest, context: Context
    ) -> pb.ResendProfilesResponse:
        ids = uuid_texts(request.profile_ids, "profile_ids", _MOST_IDS)
        revisions = await self._profiles.resend(ids)
        return pb.ResendProfilesResponse(revisions=revisions)
