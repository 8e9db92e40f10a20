"""A gRPC server as a component of a process."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from libs.rpc import options
from libs.rpc.health import Health, ReadinessCheck
from libs.rpc.interceptors import Guard
from libs.rpc.permissions import ApiKeys, permissions_of_all
from libs.rpc.tls import Tls

log = structlog.get_logger(__name__)

Service = tuple[Callable[[Any, Any], None], object]
"""The generated `add_XxxServicer_to_server`, and the servicer that it adds."""

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class RpcServer:
    """Serves services, with health and reflection beside them, until it is asked to stop.

    `checks` are what readiness depends on, by name. `unary_seconds` is the deadline of unary calls
    that come without one. `drain_seconds` is how long calls in flight may take once the server
    stops. `is_transient` knows the errors of what the service stands on: the caller is told to try
    again. Raises `ValueError` where a method of the contract names no permission.
    """

    def __init__(
        self,
        address: str,
        services: Sequence[Service],
        *,
        api_keys: ApiKeys | None = None,
        tls: Tls | None = None,
        checks: Mapping[str, ReadinessCheck] | None = None,
        unary_seconds: float = 30.0,
        drain_seconds: float = 15.0,
        interceptors: Iterable[grpc.aio.ServerInterceptor] = (),
        is_transient: Callable[[Exception], bool] = lambda _: False,
    ) -> None:
        self.address = address
        """`host:port`; once started, with the real port."""
        names = _names(services)
        self._services = services
        self._names = names
        self._tls = tls
        self._draining = asyncio.Event()
        self._drain_seconds = drain_seconds
        self._interceptors = [
            Guard(
                permissions_of_all(names), api_keys or ApiKeys(), unary_seconds, self._draining, is_transient
            ),
            *interceptors,
        ]
        self.health = Health(checks or {}, names)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Listen, and return the port. Raises `RuntimeError` where the address can't be bound."""
        server = grpc.aio.server(interceptors=self._interceptors, options=options.SERVER)
        for add, servicer in self._services:
            add(servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        reflection.enable_server_reflection([*self._names, HEALTH, reflection.SERVICE_NAME], server)
        credentials = self._tls.server_credentials() if self._tls else None
        if credentials:
            port = server.add_secure_port(self.address, credentials)
        else:
            port = server.add_insecure_port(self.address)
        await server.start()
        self._server = server
        self.address = f"{self.address.rpartition(':')[0]}:{port}"
        log.info("server listens", address=self.address, services=self._names, tls=credentials is not None)
        return port

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set, then let the calls in flight finish. Starts if need be."""
        if self._server is None:
            await self.start()
        try:
            await self.health.run(stopping)
        finally:
            await self._drain()

    async def _drain(self) -> None:
        assert self._server is not None
        # Health first: whoever watches it sends no more calls here while those in flight finish.
        self.health.drain()
        self._draining.set()
        await self._server.stop(self._drain_seconds)
        log.info("server stopped", address=self.address)


class _Names:
    """Stands in for a server, to learn which services a generated `add` function adds."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.ServiceRpcHandler]) -> None:
        """The generated code registers its handlers twice: the other call has the name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, object]) -> None:
        """Take down the service's full name."""
        self.found.append(service)


def _names(services: Iterable[Service]) -> list[str]:
    names = _Names()
    for add, servicer in services:
        add(servicer, names)
    return names.found
