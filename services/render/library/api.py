"""The gRPC API of templates."""

from typing import Any

import grpc

from libs import rpc
from services.render.library import wire
from services.render.library.use_cases import Library
from tessera.render.v1 import template_service_pb2 as pb
from tessera.render.v1 import template_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_PAGE, _MOST_PAGE = 50, 500
_NEWEST = 1 << 62


class TemplateServicer(template_service_pb2_grpc.TemplateServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def CreateTemplate(
        self, request: pb.CreateTemplateRequest, context: Context
    ) -> pb.CreateTemplateResponse:
        made = await self._library.create(
            wire.template_of(request.template), request.request_id, request.validate_only
        )
        return pb.CreateTemplateResponse(
            template=wire.template_pb(made.template), warnings=wire.warnings_pb(made.warnings)
        )

    async def GetTemplate(self, request: pb.GetTemplateRequest, context: Context) -> pb.GetTemplateResponse:
        template = await self._library.get(request.template_id, request.version)
        return pb.GetTemplateResponse(template=wire.template_pb(template))

    async def ListTemplates(
        self, request: pb.ListTemplatesRequest, context: Context
    ) -> pb.ListTemplatesResponse:
        size = rpc.page_size(request.page_size, _PAGE, _MOST_PAGE)
        (after,) = rpc.decode_token(request.page_token, "templates", tuple[str]) or ("",)
        page, more = await self._library.page(after, size)
        return pb.ListTemplatesResponse(
            templates=[wire.template_pb(one) for one in page],
            next_page_token=rpc.encode_token("templates", page[-1].template_id) if more else "",
        )

    async def UpdateTemplate(
        self, request: pb.UpdateTemplateRequest, context: Context
    ) -> pb.UpdateTemplateResponse:
        made = await self._library.update(
            request.template.template_id,
            wire.change_of(request),
            request.template.etag,
            request.allow_missing,
            request.request_id,
            request.validate_only,
        )
        return pb.UpdateTemplateResponse(
            template=wire.template_pb(made.template), warnings=wire.warnings_pb(made.warnings)
        )

    async def DeleteTemplate(
        self, request: pb.DeleteTemplateRequest, context: Context
    ) -> pb.DeleteTemplateResponse:
        await self._library.delete(request.template_id, request.etag, request.allow_missing)
        return pb.DeleteTemplateResponse()

    async def ListTemplateVersions(
        self, request: pb.ListTemplateVersionsRequest, context: Context
    ) -> pb.ListTemplateVersionsResponse:
        size = rpc.page_size(request.page_size, _PAGE, _MOST_PAGE)
        versions_of = f"template versions/{request.template_id}"
        (below,) = rpc.decode_token(request.page_token, versions_of, tuple[int]) or (_NEWEST,)
        page, more = await self._library.versions(request.template_id, below, size)
        return pb.ListTemplateVersionsResponse(
            templates=[wire.template_pb(one) for one in page],
            next_page_token=rpc.encode_token(versions_of, page[-1].version) if more else "",
        )
