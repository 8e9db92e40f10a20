"""Services that answer what a test says, for commands to call."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

Answer = Callable[[Any], Any]


class Refusal(Exception):
    """What an answer raises for the caller to get as an error."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Served:
    """A server on a free port; every request is kept."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self._server = grpc.server(ThreadPoolExecutor(1))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def answer(self, service: str, **methods: Answer) -> None:
        """Answer methods of a service, by its full name, such as `tessera.render.v1.PreviewService`."""
        described = Default().FindServiceByName(service)
        handlers = {
            name: self._handler(described.methods_by_name[name], how) for name, how in methods.items()
        }
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])

    def stop(self) -> None:
        """End the server."""
        self._server.stop(None).wait()

    def _handler(self, method: Any, how: Answer) -> grpc.RpcMethodHandler:
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)

        def answered(asked: Any, context: grpc.ServicerContext) -> Any:
            self.requests.append(asked)
            try:
                return how(asked)
            except Refusal as refusal:
                context.abort(refusal.code, str(refusal))

        return grpc.unary_unary_rpc_method_handler(answered, request.FromString, response.SerializeToString)
