"""Which ports a local Tessera listens on: the same at every start, or free ones."""

import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import psutil

from libs.errors import FailedPrecondition

SERVICES = ("ingest", "profile", "segment", "recommend", "render")
HOST = "127.0.0.1"

_HTTP, _GRPC, _METRICS = 8080, 50051, 50061


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the tracking API, and of each service for gRPC and for its metrics."""

    http: int
    grpc: Mapping[str, int]
    metrics: Mapping[str, int]

    @classmethod
    def chosen(cls, base: int | None) -> "Ports":
        """The usual ones without a base, free ones for 0."""
        if base is None:
            return cls.usual()
        return cls.from_base(base) if base else cls.free()

    @classmethod
    def usual(cls) -> "Ports":
        """8080 for HTTP, from 50051 on for gRPC and from 50061 on for metrics, in the services' order."""
        return cls(_HTTP, _numbered(_GRPC), _numbered(_METRICS))

    @classmethod
    def from_base(cls, base: int) -> "Ports":
        """`base` for HTTP, from base + 1 on for gRPC, from base + 11 on for metrics."""
        return cls(base, _numbered(base + 1), _numbered(base + 11))

    @classmethod
    def free(cls) -> "Ports":
        """Ports that nobody has just now."""
        with ExitStack() as stack:
            probes = [stack.enter_context(socket.socket()) for _ in range(1 + 2 * len(SERVICES))]
            for probe in probes:
                probe.bind((HOST, 0))
            found = [int(probe.getsockname()[1]) for probe in probes]
        grpc, metrics = found[1 : 1 + len(SERVICES)], found[1 + len(SERVICES) :]
        return cls(
            found[0], dict(zip(SERVICES, grpc, strict=True)), dict(zip(SERVICES, metrics, strict=True))
        )

    def check(self, services: Iterable[str]) -> None:
        """Raise FailedPrecondition where a port that these services need is taken."""
        wanted = {}
        for service in services:
            if service == "ingest":
                wanted[self.http] = "the tracking API"
            wanted[self.grpc[service]] = f"{service}'s gRPC"
            wanted[self.metrics[service]] = f"{service}'s metrics"
        taken = [port for port in wanted if not _is_free(port)]
        if taken:
            lines = [f"port {port} ({wanted[port]}) is taken{_by_whom(port)}" for port in taken]
            raise FailedPrecondition(
                "\n".join(lines)
                + "\nStop what listens there, or choose other ports: tessera up --port-base 9000",
                ports=taken,
            )


def address(port: int) -> str:
    """A port on loopback, as `host:port`."""
    return f"{HOST}:{port}"


def _numbered(first: int) -> dict[str, int]:
    return {service: first + number for number, service in enumerate(SERVICES)}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers bind: connections that still fade away from the last run do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _by_whom(port: int) -> str:
    # Other people's processes are not for us to see; then the port's number has to do.
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            at = connection.laddr[1] if connection.laddr else None
            if connection.status == psutil.CONN_LISTEN and at == port and connection.pid:
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f" by process {connection.pid}: {command[:80]}"
    return ""
