"""The gRPC API of sources through a real server."""

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from libs import rpc
from libs.errors import AlreadyExists, Conflict, FailedPrecondition, Invalid, NotFound, TesseraError
from tessera.ingest.v1 import event_pb2
from tessera.ingest.v1 import source_service_pb2 as pb
from tessera.ingest.v1.source_pb2 import Source
from tests.integration.ingest.conftest import BROWSER_KEY, SERVER_KEY, Ingest
from tests.integration.messaging.harness import until

_SERVER = event_pb2.SOURCE_KIND_SERVER


async def _refused(call: Any) -> TesseraError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return rpc.error_from(caught.value)


async def _create(ingest: Ingest, source_id: str = "app", **more: Any) -> Source:
    fields = {name: more.pop(name) for name in ("display_name", "default_consent") if name in more}
    source = Source(source_id=source_id, kind=_SERVER, **fields)
    created = await ingest.source_stub.CreateSource(pb.CreateSourceRequest(source=source, **more))
    return created.source  # type: ignore[no-any-return]


async def _get(ingest: Ingest, source_id: str = "app") -> Source:
    found = await ingest.source_stub.GetSource(pb.GetSourceRequest(source_id=source_id))
    return found.source  # type: ignore[no-any-return]


async def _update(ingest: Ingest, source: Source, *paths: str, **more: Any) -> Source:
    request = pb.UpdateSourceRequest(source=source, update_mask=FieldMask(paths=paths), **more)
    return (await ingest.source_stub.UpdateSource(request)).source  # type: ignore[no-any-return]


async def _is_taken(ingest: Ingest, key: str) -> bool:
    answer = await ingest.http.post("/v1/track", json={"event": "Bought", "userId": "1"}, auth=(key, ""))
    return answer.status_code == 200


async def test_a_source_is_made_with_a_key_that_works_at_once(ingest: Ingest) -> None:
    made = await _create(ingest, default_consent={"analytics": False})
    listed = (await ingest.source_stub.ListSources(pb.ListSourcesRequest())).sources

    assert await _is_taken(ingest, made.keys[0].write_key)
    assert made == await _get(ingest) == listed[0]
    assert len(made.keys[0].write_key) >= 30
    assert ["app", "shop", "site"] == [one.source_id for one in listed]
    assert [event_pb2.EVENT_TYPE_CONSENT] == [event.type for event in await ingest.stored()]


async def test_an_existing_name_is_already_exists_and_the_same_request_answers_with_what_it_made(
    ingest: Ingest,
) -> None:
    made = await _create(ingest, request_id="r1")
    again = await _create(ingest, request_id="r1", display_name="ignored")
    others = [
        await _refused(_create(ingest)),
        await _refused(_create(ingest, request_id="r2")),
        await _refused(_create(ingest, "other", write_key=BROWSER_KEY)),
    ]

    assert made == again
    assert [AlreadyExists] * 3 == [type(error) for error in others]
    assert NotFound is type(await _refused(_get(ingest, "other")))


async def test_what_is_only_validated_is_not_stored(ingest: Ingest) -> None:
    checked = await _create(ingest, display_name="App", validate_only=True)
    wrong = await _refused(_create(ingest, "App", validate_only=True))
    taken = await _refused(_create(ingest, "shop", validate_only=True))
    updated = await _update(ingest, Source(source_id="shop", display_name="Shop"), validate_only=True)

    assert ("App", []) == (checked.display_name, list(checked.keys))
    assert [Invalid, AlreadyExists] == [Invalid if isinstance(wrong, Invalid) else wrong, type(taken)]
    assert "Shop" == updated.display_name
    assert NotFound is type(await _refused(_get(ingest)))
    assert "" == (await _get(ingest, "shop")).display_name


_WRONG: dict[str, dict[str, Any]] = {
    "source.kind": {"source": Source(source_id="new")},
    "source.source_id": {"source": Source(source_id="New", kind=_SERVER)},
    "source.display_name": {"source": Source(source_id="new", kind=_SERVER, display_name="x" * 201)},
    "source.default_consent": {
        "source": Source(source_id="new", kind=_SERVER, default_consent={"a\0": True})
    },
    "write_key": {"source": Source(source_id="new", kind=_SERVER), "write_key": "a:"},
    "request_id": {"source": Source(source_id="new", kind=_SERVER), "request_id": "x" * 101},
}


async def test_a_source_that_cannot_be_is_refused_by_the_field(ingest: Ingest) -> None:
    for field, request in _WRONG.items():
        error = await _refused(ingest.source_stub.CreateSource(pb.CreateSourceRequest(**request)))

        assert (True, field) == (isinstance(error, Invalid), error.metadata.get("field"))
    reserved = await _refused(_create(ingest, "unsubscribe-page"))
    assert "source.source_id" == reserved.metadata["field"]


async def test_an_update_changes_what_its_mask_names_where_the_etag_is_still_the_same(ingest: Ingest) -> None:
    made = await _create(ingest, display_name="App", default_consent={"analytics": False})
    given = Source(source_id="app", display_name="The app", default_consent={"x": True}, etag=made.etag)
    updated = await _update(ingest, given, "display_name")
    late = await _refused(_update(ingest, given, "display_name"))
    kind = await _refused(_update(ingest, Source(source_id="app", kind=event_pb2.SOURCE_KIND_BROWSER)))
    path = await _refused(_update(ingest, Source(source_id="app"), "keys"))
    missing = await _refused(_update(ingest, Source(source_id="none", display_name="x")))
    allowed = await _update(ingest, Source(source_id="none", kind=_SERVER), allow_missing=True)

    assert ("The app", {"analytics": False}, 2) == (
        updated.display_name,
        dict(updated.default_consent),
        updated.version,
    )
    assert (Conflict, updated.etag) == (type(late), late.metadata["etag"])
    assert ["source.kind", "update_mask"] == [error.metadata["field"] for error in (kind, path)]
    assert NotFound is type(missing)
    assert 1 == len(allowed.keys)


async def test_every_version_of_a_sources_settings_can_be_listed_page_by_page(ingest: Ingest) -> None:
    await _create(ingest, display_name="1")
    for name in ("2", "3"):
        await _update(ingest, Source(source_id="app", display_name=name))
    await _update(ingest, Source(source_id="app", display_name="3"))
    first = await ingest.source_stub.ListSourceVersions(
        pb.ListSourceVersionsRequest(source_id="app", page_size=2)
    )
    rest = await ingest.source_stub.ListSourceVersions(
        pb.ListSourceVersionsRequest(source_id="app", page_size=2, page_token=first.next_page_token)
    )

    assert [(3, "3"), (2, "2")] == [(one.version, one.display_name) for one in first.versions]
    assert [(1, "1")] == [(one.version, one.display_name) for one in rest.versions]
    assert "" == rest.next_page_token


async def test_sources_are_listed_page_by_page(ingest: Ingest) -> None:
    for number in range(3):
        await _create(ingest, f"app-{number}")
    listed, token = [], ""
    while True:
        page = await ingest.source_stub.ListSources(pb.ListSourcesRequest(page_size=2, page_token=token))
        listed += [source.source_id for source in page.sources]
        if not (token := page.next_page_token):
            break

    assert ["app-0", "app-1", "app-2", "shop", "site"] == listed


async def test_two_keys_work_for_a_while_and_then_the_new_one_alone(ingest: Ingest) -> None:
    both = (
        await ingest.source_stub.AddSourceKey(pb.AddSourceKeyRequest(source_id="shop", request_id="turn"))
    ).source
    again = (
        await ingest.source_stub.AddSourceKey(pb.AddSourceKeyRequest(source_id="shop", request_id="turn"))
    ).source
    third = await _refused(ingest.source_stub.AddSourceKey(pb.AddSourceKeyRequest(source_id="shop")))
    old, new = both.keys
    taken = [await _is_taken(ingest, key.write_key) for key in both.keys]
    remove = ingest.source_stub.RemoveSourceKey
    left = (await remove(pb.RemoveSourceKeyRequest(source_id="shop", key_id=old.key_id))).source
    last = await _refused(remove(pb.RemoveSourceKeyRequest(source_id="shop", key_id=new.key_id)))
    unknown = await _refused(remove(pb.RemoveSourceKeyRequest(source_id="shop", key_id=old.key_id)))

    async def refused() -> bool:
        # A key that nobody has makes the door look again.
        await _is_taken(ingest, "nobodys")
        return not await _is_taken(ingest, SERVER_KEY)

    await until(refused, 15, "that the old key is refused")

    assert both == again
    assert SERVER_KEY == old.write_key
    assert [True, True] == taken
    assert [new] == list(left.keys)
    assert [FailedPrecondition, FailedPrecondition, NotFound] == [
        type(error) for error in (third, last, unknown)
    ]
    assert await _is_taken(ingest, new.write_key)


async def test_a_deleted_source_is_gone_with_its_key(ingest: Ingest) -> None:
    made = await _create(ingest)
    await _update(ingest, Source(source_id="app", display_name="changed"))
    delete = ingest.source_stub.DeleteSource
    late = await _refused(delete(pb.DeleteSourceRequest(source_id="app", etag=made.etag)))
    await delete(pb.DeleteSourceRequest(source_id="app"))
    again = await _refused(delete(pb.DeleteSourceRequest(source_id="app")))
    await delete(pb.DeleteSourceRequest(source_id="app", allow_missing=True))

    assert (Conflict, True) == (type(late), "etag" in late.metadata)
    assert NotFound is type(again)
    assert not await _is_taken(ingest, made.keys[0].write_key)
    assert NotFound is type(await _refused(_get(ingest)))
