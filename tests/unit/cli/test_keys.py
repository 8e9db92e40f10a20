"""Keys that one adds to a local Tessera."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import access
from cli.commands import keys
from cli.home import Home
from cli.secret_files import SecretFiles
from libs.errors import FailedPrecondition, Invalid, NotFound, TesseraError
from libs.rpc import ApiKeys


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The home of a Tessera that has run."""
    made = Home.at(tmp_path / "home")
    made.create()
    access.write_api_keys(made, SecretFiles(made.secrets))
    return made


def _run(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(keys.app, [*arguments, "--home", str(home.folder)])


def _created(home: Home, name: str, *allowed: str) -> str:
    options = [word for each in allowed for word in ("--allow", each)]
    return str(json.loads(_run(home, "create", name, *options, "--json").stdout)["key"])


def _may(home: Home, key: str, permission: str) -> bool:
    caller = ApiKeys.load(home.api_keys).caller_of(f"Bearer {key}")
    return caller is not None and caller.may(permission)


def test_a_key_may_what_it_was_made_for_and_no_more(home: Home) -> None:
    key = _created(home, "crm", "profile.read", "segment.*")

    assert _may(home, key, "profile.read")
    assert _may(home, key, "segment.write")
    assert not _may(home, key, "pii.read")
    assert key not in home.api_keys.read_text()
    assert 0o600 == stat.S_IMODE((home.secrets / "keys" / "crm").stat().st_mode)


def test_the_same_name_again_keeps_the_key_and_changes_what_it_may_do(home: Home) -> None:
    first = _created(home, "crm", "profile.read")
    second = _created(home, "crm", "segment.read")

    assert first == second
    assert _may(home, second, "segment.read")
    assert not _may(home, second, "profile.read")


def test_a_key_outlives_the_next_start(home: Home) -> None:
    key = _created(home, "crm", "profile.read")
    admin = SecretFiles(home.secrets).get("admin-key")
    access.write_api_keys(home, SecretFiles(home.secrets))

    assert _may(home, key, "profile.read")
    assert _may(home, admin, "segment.write")


def test_a_deleted_key_is_nobody_s_and_its_name_gets_a_new_one(home: Home) -> None:
    key = _created(home, "crm", "profile.read")
    deleted = _run(home, "delete", "crm")

    assert 0 == deleted.exit_code
    assert not _may(home, key, "profile.read")
    assert key != _created(home, "crm", "profile.read")
    assert isinstance(_run(home, "delete", "partner").exception, NotFound)


def test_all_keys_are_listed_without_the_keys(home: Home) -> None:
    key = _created(home, "crm", "profile.read")
    listed = _run(home, "list").stdout

    assert {*access.PERMISSIONS, "crm"} <= set(listed.split())
    assert key not in listed


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["create", "Crm", "--allow", "*"], Invalid, "lower-case"),
        (["create", "admin", "--allow", "*"], Invalid, "a key of Tessera's own"),
        (["delete", "render"], Invalid, "a key of Tessera's own"),
        (
            ["create", "crm", "--allow", "profil.read"],
            Invalid,
            "no permission profil.read; there are .*profile",
        ),
        (["create", "crm", "--allow", "public"], Invalid, "no permission public"),
    ],
)
def test_a_key_that_cannot_be_is_refused(
    home: Home, arguments: list[str], error: type[TesseraError], words: str
) -> None:
    before = home.api_keys.read_text()
    result = _run(home, *arguments)

    assert isinstance(result.exception, error)
    with pytest.raises(error, match=words):
        raise result.exception
    assert before == home.api_keys.read_text()


def test_a_home_where_nothing_ever_ran_has_no_keys(tmp_path: Path) -> None:
    result = _run(Home.at(tmp_path / "none"), "create", "crm", "--allow", "*")

    assert isinstance(result.exception, FailedPrecondition)
    assert not (tmp_path / "none").exists()


def test_a_damaged_file_of_keys_is_not_overwritten(home: Home) -> None:
    home.api_keys.write_text("{")
    with pytest.raises(FailedPrecondition, match="mend it or delete it"):
        access.write_api_keys(home, SecretFiles(home.secrets))

    assert "{" == home.api_keys.read_text()
