"""docs/grpc.md names every permission and every reason that a caller can meet."""

from collections.abc import Iterator
from pathlib import Path

from cli.commands.keys import permissions
from libs.errors import TesseraError
from libs.rpc.paging import InvalidPageToken
from services.segment.model import InvalidExpression

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "grpc.md").read_text()


def _kinds(kind: type[TesseraError]) -> Iterator[type[TesseraError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


def test_the_page_names_every_permission() -> None:
    assert [] == [each for each in permissions() if f"| `{each}` |" not in PAGE]


def test_the_page_names_every_reason() -> None:
    kinds = [kind for kind in _kinds(TesseraError) if kind.__module__.startswith(("libs.", "services."))]

    assert {InvalidPageToken, InvalidExpression} <= set(kinds)
    assert [] == [kind.reason for kind in kinds if f"`{kind.reason}`" not in PAGE]
