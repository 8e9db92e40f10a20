"""docs/first-steps.md names nothing that a reader does not have."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from cli import main
from cli.definitions import load
from cli.imports.events import json_lines
from cli.imports.files import open_file

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "first-steps.md").read_text()
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_first_steps_make_every_file_that_they_import(tmp_path: Path) -> None:
    made = dict(re.findall(r"cat > (\S+) <<'END'\n(.*?)^END$", "\n".join(BLOCKS), re.MULTILINE | re.DOTALL))
    imported = re.findall(r"tessera import (\S+)", "\n".join(BLOCKS))

    assert imported
    assert set(imported) <= made.keys()
    for name in imported:
        (tmp_path / name).write_text(made[name])
        with open_file(tmp_path / name) as (_, file):
            assert ["", "", ""] == [line.problem for line in json_lines(file, name)]


def test_first_steps_define_what_can_be_applied(tmp_path: Path) -> None:
    files = re.findall(r"`(mine/\S+?)`\n```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for name, content in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    found = load(tmp_path / "mine")

    assert 4 == len(files)
    assert ["hello"] == [one.definition_id for one in found.templates]
    assert ["curious"] == [one.definition_id for one in found.segments]


@pytest.mark.parametrize("words", sorted(set(re.findall(r"tessera ([a-z][a-z-]+(?: [a-z-]+)?)", PAGE))))
def test_first_steps_name_commands_that_there_are(words: str) -> None:
    first, _, second = words.partition(" ")
    command = get_command(main.app).commands[first]  # type: ignore[attr-defined]

    assert second in getattr(command, "commands", {second: None})


def test_first_steps_link_to_pages_that_there_are() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
    for path in re.findall(r"(examples/\w+)", PAGE):
        assert (ROOT / path).is_dir(), path
