"""The gRPC API of histories."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from libs import rpc
from services.profile.history import wire
from services.profile.history.use_cases import History, Place
from tessera.profile.v1 import history_service_pb2 as pb
from tessera.profile.v1 import history_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class HistoryServicer(history_service_pb2_grpc.HistoryServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        events_of = f"events/{request.profile_id.lower()}"
        start = rpc.decode_token(request.page_token, events_of, tuple[int, int])
        page = await self._history.events(request.profile_id, Place(*start) if start else None, size)
        return pb.ListEventsResponse(
            events=[wire.event_pb(event) for event in page.events],
            next_page_token=rpc.encode_token(events_of, *page.last) if page.last else "",
        )

    async def ListUnassignedEvents(
        self, request: pb.ListUnassignedEventsRequest, context: Context
    ) -> pb.ListUnassignedEventsResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        before = rpc.decode_token(request.page_token, "unassigned", tuple[int, str])
        events, more = await self._history.unassigned(before, size)
        last = (events[-1].received, events[-1].event_id) if more else None
        return pb.ListUnassignedEventsResponse(
            events=[wire.event_pb(event.body) for event in events],
            next_page_token=rpc.encode_token("unassigned", *last) if last else "",
        )

    async def ReadHistory(
        self, request: pb.ReadHistoryRequest, context: Context
    ) -> AsyncIterator[pb.ReadHistoryResponse]:
        async for part in self._history.read(request.profile_ids, request.after_revisions):
            yield pb.ReadHistoryResponse(
                profile_id=part.profile_id,
                steps=[wire.step_pb(part.profile_id, step) for step in part.steps],
                revision=part.revision,
            )

    async def ResendProfiles(
        self, request: pb.ResendProfilesRequest, context: Context
    ) -> pb.ResendProfilesResponse:
        return pb.ResendProfilesResponse(revisions=await self._history.resend(request.profile_ids))
