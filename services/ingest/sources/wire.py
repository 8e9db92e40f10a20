"""Between the contract's messages and the model."""

from collections.abc import Callable
from dataclasses import replace

from libs.errors import Invalid
from libs.etags import check_etag, etag_of
from libs.rpc.resources import updated
from libs.times import timestamp
from services.ingest.sources.model import Source, SourceVersion
from tessera.ingest.v1 import event_pb2, source_pb2
from tessera.ingest.v1 import source_service_pb2 as pb

_UPDATABLE = ("display_name", "default_consent")
_TRUSTED = {event_pb2.SOURCE_KIND_SERVER: True, event_pb2.SOURCE_KIND_BROWSER: False}


def kind_of(trusted: bool) -> event_pb2.SourceKind.ValueType:
    """How far a source is trusted, in the contract."""
    return event_pb2.SOURCE_KIND_SERVER if trusted else event_pb2.SOURCE_KIND_BROWSER


def source_of(source: source_pb2.Source) -> Source:
    """A source to create; Invalid where its kind is none."""
    if source.kind not in _TRUSTED:
        raise Invalid("source.kind", "must be browser or server")
    return Source(
        source_id=source.source_id,
        trusted=_TRUSTED[source.kind],
        default_consent=dict(source.default_consent),
        display_name=source.display_name,
    )


def changed(request: pb.UpdateSourceRequest) -> Callable[[Source | None], Source]:
    """What an update makes of the source as it stands; raises where its etag is another."""
    given = request.source

    def change(stored: Source | None) -> Source:
        if stored is None:
            return source_of(given)
        check_etag(given.etag, etag(stored), f"source {stored.source_id}")
        made = updated(source_pb(stored), given, request.update_mask, _UPDATABLE)
        return replace(
            stored,
            trusted=_TRUSTED.get(given.kind, stored.trusted),
            display_name=made.display_name,
            default_consent=dict(made.default_consent),
        )

    return change


def etag(source: Source) -> str:
    """Another one after each change of the source or its keys."""
    keys = [key.key_id for key in source.keys]
    return etag_of(source.source_id, source.version, source.created, keys)


def source_pb(source: Source) -> source_pb2.Source:
    """To the contract."""
    keys = [
        source_pb2.SourceKey(key_id=key.key_id, write_key=key.write_key, create_time=timestamp(key.created))
        for key in source.keys
    ]
    return source_pb2.Source(
        source_id=source.source_id,
        kind=kind_of(source.trusted),
        display_name=source.display_name,
        default_consent=source.default_consent,
        keys=keys,
        version=source.version,
        etag=etag(source),
        create_time=timestamp(source.created),
        update_time=timestamp(source.updated),
    )


def version_pb(version: SourceVersion) -> source_pb2.SourceVersion:
    """To the contract."""
    return source_pb2.SourceVersion(
        version=version.version,
        display_name=version.display_name,
        default_consent=version.default_consent,
        create_time=timestamp(version.since),
    )
