"""Makes sure that a source is there."""

import grpc

from cli.clients import Clients
from libs.errors import AlreadyExists, Conflict
from libs.rpc import error_from
from tessera.ingest.v1 import source_pb2
from tessera.ingest.v1 import source_service_pb2 as pb
from tessera.ingest.v1.event_pb2 import SourceKind


async def ensure_source(
    clients: Clients, source_id: str, kind: SourceKind.ValueType, any_kind: bool = False
) -> source_pb2.Source:
    """Create a source, or return the one that is there; Conflict where that is of another kind."""
    sources = await clients.sources()
    wanted = source_pb2.Source(source_id=source_id, kind=kind)
    try:
        return (await sources.CreateSource(pb.CreateSourceRequest(source=wanted))).source
    except grpc.aio.AioRpcError as error:
        if not isinstance(error_from(error), AlreadyExists):
            raise
    found = (await sources.GetSource(pb.GetSourceRequest(source_id=source_id))).source
    if found.kind != kind and not any_kind:
        raise Conflict(f"source {source_id} exists with other settings", source_id=source_id)
    return found


def write_key(source: source_pb2.Source) -> str:
    """The newest of a source's keys: clients change to it."""
    return source.keys[-1].write_key
