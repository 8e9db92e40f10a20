import json
import signal
import stat
from typing import Any

import asyncpg
import httpx
import msgspec
import psutil
import pytest

from cli.access import password_name
from cli.dead_letters import open_running_log
from cli.running import Running
from cli.secret_files import SecretFiles
from libs.messaging import Record
from libs.messaging.topics import INGEST_EVENTS, PROFILE_UPDATES
from tests.e2e.conftest import Up, until
from tests.integration.messaging import harness

SERVICES = ["ingest", "profile", "segment", "recommend", "render"]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def _read_key(up: Up, source: str) -> str:
    return str(up.json("sources", "create", source, "--kind", "server")["write_key"])


def _restarts(up: Up) -> dict[str, int]:
    return {name: service["restarts"] for name, service in up.json("status")["services"].items()}


def test_everything_gets_ready_and_says_so(up: Up) -> None:
    status = up.json("status")

    assert status["ready"]
    assert SERVICES == list(status["services"])
    assert {"ready"} == {service["state"] for service in status["services"].values()}
    assert {"profile", "segment", "recommend", "render"} == {lag["group"] for lag in status["lag"]}


@pytest.fixture(scope="module")
def ada(up: Up) -> dict[str, Any]:
    """What ingest answered to Ada's event, who is known from then on."""
    event = {
        "type": "track",
        "userId": "ada",
        "event": "Product Viewed",
        "properties": {"product_id": "P-1"},
        "context": {"traits": {"email": "ada@example.com"}},
    }
    url = f"{up.running()['http']}/v1/batch"
    answer = httpx.post(url, json={"batch": [event]}, auth=(_read_key(up, "backend"), ""), trust_env=False)
    until(lambda: up.run("profile", "show", "ada@example.com").returncode == 0)
    found: dict[str, Any] = answer.json()
    return found


def test_an_event_sent_by_http_is_found_with_its_person(up: Up, ada: dict[str, Any]) -> None:
    found = up.json("profile", "show", "ada")

    assert {"success": True} == ada
    assert ["Product Viewed"] == [event["name"] for event in found["events"]]
    assert {"product_id": "P-1"} == found["events"][0]["properties"]


def test_definitions_are_applied_once_and_then_unchanged(up: Up) -> None:
    first = up.json("apply", "examples/shop")
    again = up.json("apply", "examples/shop")

    assert {"created"} == {applied["change"] for applied in first}
    assert {"unchanged"} == {applied["change"] for applied in again}
    assert 22 == len(again)


def test_a_file_is_imported_and_again_without_counting_twice(
    up: Up, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("import") / "orders.csv"
    file.write_text(
        "userId,event,timestamp,properties.revenue\nbob,Order,2025-01-31,9.5\n,Order,2025-01-31,1\n"
    )
    summaries = [up.json("import", str(file)) for _ in range(2)]
    until(lambda: up.run("profile", "show", "bob").returncode == 0)
    found = up.json("profile", "show", "bob")

    assert [(1, 1)] * 2 == [(s["accepted"], s["rejected"]) for s in summaries]
    assert [3] == [rejection["line"] for rejection in summaries[0]["rejections"]]
    assert ["Order"] == [event["name"] for event in found["events"]]


def test_a_service_that_is_killed_is_started_again(up: Up) -> None:
    before, restarts = up.process_of("profile"), _restarts(up)
    psutil.Process(before).kill()
    until(lambda: up.process_of("profile") != before)
    until(lambda: up.run("status").returncode == 0)

    assert restarts | {"profile": restarts["profile"] + 1} == _restarts(up)


def test_a_postgresql_that_is_killed_is_started_again(up: Up, ada: dict[str, Any]) -> None:
    pid_file = up.home / "postgres" / "data" / "postmaster.pid"
    before = pid_file.read_text().split()[0]
    psutil.Process(int(before)).kill()
    until(lambda: pid_file.read_text().split()[:1] not in ([], [before]))
    until(lambda: up.run("status").returncode == 0)

    assert ["Product Viewed"] == [event["name"] for event in up.json("profile", "show", "ada")["events"]]


def test_a_second_one_over_the_same_home_refuses_and_says_who_is_there(up: Up) -> None:
    second = up.run("up", "--port-base", "0")

    assert 1 == second.returncode
    assert f"process {up.running()['process_id']}" in second.stderr
    assert "Traceback" not in second.stderr


async def test_a_malformed_event_is_found_with_its_reason_and_replayed(up: Up) -> None:
    of_profile = ("--service", "profile")
    malformed = Record(b"ada", "tessera.ingest.v1.EventCollected", b"\xff", 5)
    async with open_running_log(msgspec.convert(up.running(), Running)) as event_log:
        await event_log.publish(INGEST_EVENTS, [malformed])
    until(lambda: bool(up.json("dead-letters", "list", *of_profile)))
    (letter,) = up.json("dead-letters", "list", *of_profile)
    lines = [json.loads(line) for line in (up.home / "tessera.log").read_text().splitlines()]
    told = [line for line in lines if line["event"] == "dead letter"]
    done = up.json("dead-letters", "replay", letter["letter"])
    # What is malformed still is: it comes back.
    until(lambda: len(up.json("dead-letters", "list", "--settled", *of_profile)) == 2)
    (again,) = up.json("dead-letters", "list", *of_profile)
    dismissed = up.run("dead-letters", "dismiss", again["letter"])

    assert ("ingest.events", "ada", "ff") == (letter["topic"], letter["key"], letter["value_hex"])
    assert "not an EventCollected" in letter["reason"]
    place = ("profile", letter["topic"], letter["partition"], letter["offset"])
    assert [place] == [(line["group"], line["topic"], line["partition"], line["offset"]) for line in told]
    assert {"appended": [letter["letter"]], "rebuilt": [], "left": []} == done
    assert letter["offset"] < again["offset"]
    assert "1 dismissed" in dismissed.stdout
    assert [] == up.json("dead-letters", "list", *of_profile)


async def test_a_change_of_a_profile_that_cannot_be_read_is_read_in_its_history(
    up: Up, ada: dict[str, Any]
) -> None:
    profile_id = up.json("profile", "show", "ada")["profile_id"]
    running = msgspec.convert(up.running(), Running)
    malformed = [
        Record(key, "tessera.profile.v1.ProfileUpdated", b"\xff", 5) for key in (profile_id.encode(), b"-")
    ]
    connection = await asyncpg.connect(running.database_url)
    async with open_running_log(running) as event_log:
        # What recommend has of ada is as if her steps had been lost.
        await connection.execute("delete from recommend.profiles where profile_id = $1", profile_id)
        await event_log.publish(PROFILE_UPDATES, malformed)

    async def restored() -> bool:
        query = "select revision > 0 from recommend.profiles where profile_id = $1"
        return bool(await connection.fetchval(query, profile_id))

    await harness.until(restored, 120, "ada in recommend")
    await connection.close()
    # Only what names nobody is a letter: nothing can be done with it.
    until(lambda: len(up.json("dead-letters", "list")) == 2)
    done = up.json("dead-letters", "replay", "--all")
    left = up.json("dead-letters", "list")
    assert 0 == up.run("dead-letters", "dismiss", "--all").returncode

    assert [] == done["rebuilt"]
    assert sorted(done["left"]) == sorted(letter["letter"] for letter in left)
    assert {"-"} == {letter["key"] for letter in left}


def test_letters_that_are_not_there_are_refused(up: Up) -> None:
    unknown, nothing = up.run("dead-letters", "replay", "profile-0-99"), up.run("dead-letters", "replay")

    assert "no such letter is open: profile-0-99" in unknown.stderr
    assert "name letters by their ids, or say --all" in nothing.stderr


async def test_a_service_can_t_read_another_s_tables(up: Up) -> None:
    password = SecretFiles(up.home / "secrets").get(password_name("render"))
    at = up.running()["database_url"].rpartition("@")[2]
    connection = await asyncpg.connect(f"postgresql://render:{password}@{at}")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select * from profile.profiles")
        topics = await connection.fetchval("select count(*) from event_log.topics")
    finally:
        await connection.close()

    assert topics


def test_secrets_and_log_are_for_their_owner_alone(up: Up) -> None:
    files = [
        *(up.home / "secrets").iterdir(),
        *(up.home / name for name in ("api-keys.json", "running.json")),
    ]

    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in [*files, up.home / "tessera.log"]}


def test_nobody_is_found_and_an_unknown_folder_is_refused_without_a_traceback(up: Up) -> None:
    nobody, folder = up.run("profile", "show", "nobody"), up.run("apply", "no-such-folder")

    assert (1, 1) == (nobody.returncode, folder.returncode)
    assert "error: nobody is known by 'nobody'" in nobody.stderr
    assert "error: there is no folder no-such-folder" in folder.stderr


def test_killed_or_stopped_nothing_is_left_and_what_was_stored_is_there(up: Up, ada: dict[str, Any]) -> None:
    """It is started again, for whoever comes after it."""
    children = [up.process_of(service) for service in SERVICES]
    up.stop(signal.SIGKILL)
    until(lambda: not any(psutil.pid_exists(child) for child in children), 10)
    without = up.run("status")
    up.start()
    found = up.json("profile", "show", "ada")
    assert up.process is not None
    everybody = psutil.Process(up.process.pid).children(recursive=True)
    code = up.stop()
    left = [child.pid for child in everybody if child.is_running()]
    forgotten = not (up.home / "running.json").exists()
    up.start()

    assert 1 == without.returncode
    assert "nothing is running here" in without.stderr
    assert ["Product Viewed"] == [event["name"] for event in found["events"]]
    assert 0 == code
    assert [] == left
    assert forgotten
