"""`tessera sources`."""

import json

import pytest
from typer.testing import CliRunner, Result

from cli import main
from libs.errors import Invalid
from tessera.ingest.v1 import source_pb2
from tessera.ingest.v1 import source_service_pb2 as pb
from tessera.ingest.v1.event_pb2 import SOURCE_KIND_BROWSER
from tests.unit.cli.served import Served

_SERVICE = "tessera.ingest.v1.SourceService"


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main.app, ["sources", *arguments])


def _source(*keys: str) -> source_pb2.Source:
    return source_pb2.Source(
        source_id="website",
        kind=SOURCE_KIND_BROWSER,
        default_consent={"analytics": False},
        keys=[source_pb2.SourceKey(key_id=f"id-{key}", write_key=key) for key in keys],
        version=2,
    )


def test_a_key_is_changed_by_adding_one_and_removing_the_other(served: Served) -> None:
    served.answer(
        _SERVICE,
        AddSourceKey=lambda _: pb.AddSourceKeyResponse(source=_source("old", "new")),
        RemoveSourceKey=lambda _: pb.RemoveSourceKeyResponse(source=_source("new")),
    )
    added = _run("add-key", "website")
    refused = _run("remove-key", "website", "id-old")
    removed = _run("remove-key", "website", "id-old", "--yes", "--json")

    assert "key id-old" in added.stdout
    assert "key id-new" in added.stdout
    assert served.requests[0].request_id
    assert isinstance(refused.exception, Invalid)
    assert "id-old" == served.requests[1].key_id
    assert "new" == json.loads(removed.stdout)["write_key"]


def test_only_what_is_named_changes(served: Served) -> None:
    served.answer(_SERVICE, UpdateSource=lambda _: pb.UpdateSourceResponse(source=_source("key")))
    _run("update", "website", "--name", "Shop")
    _run("update", "website", "--consent", "analytics=no", "--consent", "personalization=yes")
    _run("update", "website", "--consent", "none")
    named, consenting, usual = served.requests

    assert (["display_name"], "Shop") == (list(named.update_mask.paths), named.source.display_name)
    assert ["default_consent"] == list(consenting.update_mask.paths)
    assert {"analytics": False, "personalization": True} == dict(consenting.source.default_consent)
    assert (["default_consent"], {}) == (list(usual.update_mask.paths), dict(usual.source.default_consent))


@pytest.mark.parametrize("arguments", [(), ("--consent", "analytics"), ("--consent", "analytics=maybe")])
def test_a_change_that_is_none_is_told(served: Served, arguments: tuple[str, ...]) -> None:
    assert isinstance(_run("update", "website", *arguments).exception, Invalid)


def test_a_source_is_shown_listed_and_deleted(served: Served) -> None:
    served.answer(
        _SERVICE,
        GetSource=lambda _: pb.GetSourceResponse(source=_source("key")),
        ListSources=lambda _: pb.ListSourcesResponse(sources=[_source("key")]),
        ListSourceVersions=lambda _: pb.ListSourceVersionsResponse(
            versions=[source_pb2.SourceVersion(version=1, display_name="[Shop]")]
        ),
        DeleteSource=lambda _: pb.DeleteSourceResponse(),
    )

    assert "analytics no" in _run("show", "website").stdout
    assert "website" in _run("list").stdout
    assert "[Shop]" in _run("versions", "website").stdout
    assert "website is deleted" in _run("delete", "website", "-y").stdout
