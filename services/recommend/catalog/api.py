"""The gRPC API of the catalog."""

from typing import Any, Final

import grpc

from libs import rpc
from services.recommend.catalog import wire
from services.recommend.catalog.use_cases import Catalog
from tessera.recommend.v1 import catalog_service_pb2 as pb
from tessera.recommend.v1 import catalog_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_LIST: Final = "products"


class CatalogServicer(catalog_service_pb2_grpc.CatalogServiceServicer):
    """Translates calls for the use cases."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def GetProduct(self, request: pb.GetProductRequest, context: Context) -> pb.GetProductResponse:
        product = await self._catalog.get(request.product_id)
        return pb.GetProductResponse(product=wire.product_pb(product))

    async def ListProducts(
        self, request: pb.ListProductsRequest, context: Context
    ) -> pb.ListProductsResponse:
        size = rpc.page_size(request.page_size, 50, 500)
        (after,) = rpc.decode_token(request.page_token, _LIST, tuple[str]) or ("",)
        page = await self._catalog.page(after, size + 1)
        token = rpc.encode_token(_LIST, page[size - 1].product_id) if len(page) > size else ""
        products = [wire.product_pb(product) for product in page[:size]]
        return pb.ListProductsResponse(products=products, next_page_token=token)
