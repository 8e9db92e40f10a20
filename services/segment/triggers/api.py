"""The gRPC API of triggers."""

from typing import Any

import grpc

from libs import rpc
from libs.etags import check_etag
from libs.rpc.resources import updated
from services.segment.triggers import wire
from services.segment.triggers.use_cases import Triggers
from tessera.segment.v1 import trigger_service_pb2 as pb
from tessera.segment.v1 import trigger_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_MOST_A_PAGE = 500
_NEWEST = 1 << 62


class TriggerServicer(trigger_service_pb2_grpc.TriggerServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, triggers: Triggers) -> None:
        self._triggers = triggers

    async def CreateTrigger(
        self, request: pb.CreateTriggerRequest, context: Context
    ) -> pb.CreateTriggerResponse:
        definition = wire.trigger_of(request.trigger)
        kept, warnings = await self._triggers.create(definition, request.request_id, request.validate_only)
        return pb.CreateTriggerResponse(trigger=wire.trigger_pb(kept), warnings=wire.warnings_pb(warnings))

    async def GetTrigger(self, request: pb.GetTriggerRequest, context: Context) -> pb.GetTriggerResponse:
        found = await self._triggers.get(request.trigger_id)
        return pb.GetTriggerResponse(trigger=wire.trigger_pb(found))

    async def ListTriggers(
        self, request: pb.ListTriggersRequest, context: Context
    ) -> pb.ListTriggersResponse:
        size = rpc.page_size(request.page_size, 50, _MOST_A_PAGE)
        (after,) = rpc.decode_token(request.page_token, "triggers", tuple[str]) or ("",)
        found = await self._triggers.page(after, size)
        token = rpc.encode_token("triggers", found[-1].trigger_id) if len(found) == size else ""
        return pb.ListTriggersResponse(triggers=map(wire.trigger_pb, found), next_page_token=token)

    async def UpdateTrigger(
        self, request: pb.UpdateTriggerRequest, context: Context
    ) -> pb.UpdateTriggerResponse:
        given = request.trigger
        base = await self._triggers.find(given.trigger_id)
        if base is None and request.allow_missing:
            check_etag(given.etag, "", f"trigger {given.trigger_id}")
            kept, warnings = await self._triggers.create(
                wire.trigger_of(given), validate_only=request.validate_only
            )
        else:
            base = base or await self._triggers.get(given.trigger_id)
            check_etag(given.etag, wire.trigger_etag(base), f"trigger {base.trigger_id}")
            stored = wire.definition_pb(base)
            wanted = wire.trigger_of(updated(stored, given, request.update_mask, wire.UPDATABLE))
            kept, warnings = await self._triggers.update(wanted, base, request.validate_only)
        return pb.UpdateTriggerResponse(trigger=wire.trigger_pb(kept), warnings=wire.warnings_pb(warnings))

    async def DeleteTrigger(
        self, request: pb.DeleteTriggerRequest, context: Context
    ) -> pb.DeleteTriggerResponse:
        base = await self._triggers.find(request.trigger_id)
        if base is None and request.allow_missing:
            return pb.DeleteTriggerResponse()
        base = base or await self._triggers.get(request.trigger_id)
        check_etag(request.etag, wire.trigger_etag(base), f"trigger {base.trigger_id}")
        await self._triggers.delete(base)
        return pb.DeleteTriggerResponse()

    async def ListTriggerVersions(
        self, request: pb.ListTriggerVersionsRequest, context: Context
    ) -> pb.ListTriggerVersionsResponse:
        size = rpc.page_size(request.page_size, 50, _MOST_A_PAGE)
        versions_of = f"trigger-versions/{request.trigger_id}"
        (before,) = rpc.decode_token(request.page_token, versions_of, tuple[int]) or (_NEWEST,)
        found = await self._triggers.versions(request.trigger_id, before, size)
        token = rpc.encode_token(versions_of, found[-1].version) if len(found) == size else ""
        return pb.ListTriggerVersionsResponse(versions=map(wire.version_pb, found), next_page_token=token)
