"""The walk-throughs of docs/, followed from top to bottom as their readers would."""

import subprocess
from pathlib import Path

import pytest

from tests.walkthroughs.page import Commands, File, blocks
from tests.walkthroughs.shell import Shell, is_as_expected

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("walkthrough-*.md"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What git keeps of the project, in a folder of its own, as after a clone."""
    folder = tmp_path / "tessera"
    kept = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, kept):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
            (folder / name).chmod((ROOT / name).stat().st_mode)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_reader_who_follows_the_page_sees_what_it_shows(page: Path, checkout: Path, tmp_path: Path) -> None:
    found = list(blocks(page))

    assert any(isinstance(block, Commands) and block.expected for block in found)
    with Shell(checkout, tmp_path) as shell:
        for block in found:
            shell.do(block)


def test_a_page_that_shows_something_else_than_what_is_printed_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nx=1\necho $x\n```\n\n```text\n1\n```\n```sh\necho $x\n```\n```text\n2\n```\n")
    right, wrong = blocks(page)

    with Shell(tmp_path, tmp_path) as shell:
        shell.do(right)
        with pytest.raises(AssertionError, match="line 9"):
            shell.do(wrong)


def test_a_command_that_fails_ends_its_block_and_the_page(tmp_path: Path) -> None:
    block = Commands(1, "false\necho further", until=False, expected=None)

    with Shell(tmp_path, tmp_path) as shell, pytest.raises(AssertionError, match="exit code 1\n\n"):
        shell.do(block)


def test_files_are_saved_where_the_shell_is_and_commands_tried_again_until_they_fit(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    count = "cat text; echo more >> text\n"

    with Shell(tmp_path, tmp_path) as shell:
        shell.do(Commands(1, "cd inner", until=False, expected=None))
        shell.do(File(2, "text", "as $it is\n"))
        shell.do(Commands(3, count, until=True, expected="as $it is\nmore\n...\nmore"))

    assert 3 <= (tmp_path / "inner" / "text").read_text().count("more")


def test_dots_stand_for_anything_and_spaces_do_not_count() -> None:
    assert is_as_expected("id  1234 ready\n", "id ... ready")
    assert not is_as_expected("id 1234 late\n", "id ... ready")
