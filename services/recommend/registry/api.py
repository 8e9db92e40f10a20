"""The gRPC API of the registry."""

from typing import Any, Final

import grpc

from libs import rpc
from services.recommend.registry import wire
from services.recommend.registry.use_cases import Registry
from tessera.recommend.v1 import model_service_pb2 as pb
from tessera.recommend.v1 import model_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_LIST: Final = "models"
_NEWEST: Final = (1 << 63) - 1


class ModelServicer(model_service_pb2_grpc.ModelServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        model = await self._registry.get(request.version)
        return pb.GetModelResponse(model=wire.model_pb(model))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        size = rpc.page_size(request.page_size, 20, 100)
        (before,) = rpc.decode_token(request.page_token, _LIST, tuple[int]) or (_NEWEST,)
        page = await self._registry.page(before, size + 1)
        token = rpc.encode_token(_LIST, page[size - 1].version) if len(page) > size else ""
        models = [wire.model_pb(model) for model in page[:size]]
        return pb.ListModelsResponse(models=models, next_page_token=token)
