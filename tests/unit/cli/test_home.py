import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cli import access, lock
from cli.home import Home
from cli.leftovers import stop_leftover
from cli.running import Running, RunningService
from cli.secret_files import SecretFiles, write_private
from libs.errors import FailedPrecondition
from libs.rpc import ApiKeys


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home.at(tmp_path / "home")
    made.create()
    return made


def test_nobody_else_can_list_the_home_or_look_into_its_secrets(home: Home) -> None:
    assert not _mode(home.folder) & 0o066
    assert 0o700 == _mode(home.secrets)
    assert 0o700 == _mode(home.outbox)


def test_a_secret_is_made_once_and_only_its_owner_can_read_it(home: Home) -> None:
    secrets = SecretFiles(home.secrets)
    first, other = secrets.get("admin-key"), secrets.get("segment-key")

    assert first == secrets.get("admin-key")
    assert first != other
    assert len(first) >= 32
    assert 0o600 == _mode(secrets.path("admin-key"))


def test_a_private_file_is_replaced_whole_and_stays_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, "old")
    write_private(path, "new")

    assert "new" == path.read_text()
    assert 0o600 == _mode(path)
    assert [path] == list(tmp_path.iterdir())


def test_the_services_are_told_the_hashes_of_the_keys_and_not_the_keys(home: Home) -> None:
    secrets = SecretFiles(home.secrets)
    access.write_api_keys(home, secrets)
    keys = ApiKeys.load(home.api_keys)
    admin = keys.caller_of(f"Bearer {secrets.get('admin-key')}")
    connector = keys.caller_of(f"Bearer {secrets.get('connector-key')}")

    assert 0o600 == _mode(home.api_keys)
    assert secrets.get("admin-key") not in home.api_keys.read_text()
    assert admin is not None
    assert admin.may("segment.write")
    assert connector is not None
    assert connector.may("render.deliver")
    assert not connector.may("render.write")
    assert not connector.may("profile.read")


def test_each_service_may_call_what_it_needs_and_no_more() -> None:
    assert {"profile.history", "profile.read", "pii.read"} == set(access.PERMISSIONS["segment"])
    assert {"profile.history", "pii.read"} == set(access.PERMISSIONS["recommend"])
    assert "ingest" not in access.PERMISSIONS
    assert "profile" not in access.PERMISSIONS


def test_a_home_has_one_holder_and_the_second_is_told_who(home: Home) -> None:
    with (
        lock.hold(home.lock),
        pytest.raises(FailedPrecondition, match=f"runs here already.*{os.getpid()}"),
        lock.hold(home.lock),
    ):
        pytest.fail("held twice")


def test_the_lock_of_a_killed_process_is_free(home: Home) -> None:
    script = (
        "import sys,time\nfrom pathlib import Path\nfrom cli import lock\n"
        "with lock.hold(Path(sys.argv[1])):\n print('held', flush=True)\n time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(home.lock)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while_held = lock.holder_of(home.lock)
        process.kill()
        process.wait()

    assert process.pid == while_held
    assert lock.holder_of(home.lock) is None
    with lock.hold(home.lock):
        assert os.getpid() == lock.holder_of(home.lock)


def test_what_runs_is_read_only_while_somebody_holds_the_lock(home: Home) -> None:
    running = Running(
        1,
        "0.1.0",
        "http://127.0.0.1:8080",
        "postgresql://x",
        "",
        "tessera",
        {"ingest": RunningService("a", "b")},
    )
    running.write(home)

    with pytest.raises(FailedPrecondition, match="start with `tessera up`"):
        Running.read(home)
    with lock.hold(home.lock):
        assert running == Running.read(home)
    assert 0o600 == _mode(home.running)
    assert "ingest" in json.loads(home.running.read_text())["services"]


def test_a_number_that_is_somebody_else_s_now_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")

    assert not stop_leftover(tmp_path)
    assert psutil.pid_exists(os.getpid())


def test_there_is_no_leftover_where_nothing_ran(tmp_path: Path) -> None:
    assert not stop_leftover(tmp_path)
