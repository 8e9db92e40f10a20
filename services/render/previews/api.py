"""The gRPC API of previews and tests."""

from typing import Any

import grpc

from services.render.previews import wire
from services.render.previews.use_cases import Previews
from tessera.render.v1 import preview_service_pb2 as pb
from tessera.render.v1 import preview_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class PreviewServicer(preview_service_pb2_grpc.PreviewServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, previews: Previews) -> None:
        self._previews = previews

    async def PreviewTemplate(
        self, request: pb.PreviewTemplateRequest, context: Context
    ) -> pb.PreviewTemplateResponse:
        shown = await self._previews.preview(wire.template_of(request.template), request.context_json)
        return wire.previewed_pb(shown)

    async def RenderForProfile(
        self, request: pb.RenderForProfileRequest, context: Context
    ) -> pb.RenderForProfileResponse:
        shown = await self._previews.render(
            wire.source_of(request),
            request.profile_id,
            request.recommendations,
            request.event_properties_json,
        )
        return wire.rendered_pb(shown)

    async def SendTest(self, request: pb.SendTestRequest, context: Context) -> pb.SendTestResponse:
        message_id, shown = await self._previews.send_test(
            wire.test_source_of(request),
            request.profile_id,
            request.to,
            request.event_properties_json,
            request.request_id,
        )
        return pb.SendTestResponse(message_id=message_id, warnings=wire.warnings_pb(shown.warnings))
