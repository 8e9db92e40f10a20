import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from libs.database.embedded import EmbeddedPostgres
from tests.e2e.conftest import TESSERA, Up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def _demo(
    home: Path, *arguments: str, settings: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TESSERA), "demo", "--home", str(home), "--scale", "0.05", "--live-seconds", "6", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(settings or {})},
    )


async def _create_database(postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(postgres.url())
    try:
        await connection.execute("drop database if exists demo with (force)")
        await connection.execute("create database demo")
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


@pytest.fixture(scope="module", params=["embedded", "kafka"])
def settings(request: pytest.FixtureRequest, postgres: EmbeddedPostgres) -> dict[str, str]:
    """Embedded, and on PostgreSQL and Kafka: these settings alone make the difference."""
    if request.param == "embedded":
        return {}
    asyncio.run(_create_database(postgres))
    return {
        "DATABASE_URL": postgres.url("demo"),
        "EVENT_LOG_URL": f"kafka://{request.getfixturevalue('kafka')}",
        "TESSERA_NAMESPACE": "demo",
    }


@pytest.fixture(scope="module")
def report(home: Path, settings: dict[str, str]) -> dict[str, Any]:
    """What a demo told."""
    done = _demo(home, "--json", settings=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_messages_come_out_and_nothing_fails(report: dict[str, Any]) -> None:
    assert report["succeeded"]
    assert [] == report["problems"]
    assert report["events_accepted"] > 2000
    assert 0 == report["events_rejected"]
    assert report["messages"]["rendered"] == report["delivered"] + report["withdrawn"]
    assert report["delivered"] > 0
    assert report["messages"]["missed"] > 0


def test_people_are_in_segments_and_triggers_fired(report: dict[str, Any]) -> None:
    assert report["profiles"] > 50
    assert 8 == len(report["segments"])
    assert sum(report["segments"].values()) > 20
    assert report["transitions"]["triggered"] > 0
    assert report["events_per_second"] > 0


def test_one_message_is_explained_from_its_events_to_its_delivery(report: dict[str, Any]) -> None:
    story = report["journey"]

    assert story["events"]
    assert story["cause"]
    assert story["recommendations"]
    assert story["subject"]
    assert "acknowledged" == story["delivery"]
    assert story["to"] in [value for kind, value in story["identifiers"] if kind == "email"]


def test_one_trace_leads_from_the_request_through_the_services(report: dict[str, Any]) -> None:
    services = {hop["service"] for hop in report["journey"]["hops"]}

    assert {"ingest", "profile", "segment"} <= services


def test_the_messages_lie_in_the_outbox(report: dict[str, Any], home: Path) -> None:
    mails = list((home / "outbox").glob("*.eml"))

    # One more may have come due before the connector was stopped.
    assert 0 < report["delivered"] <= len(mails)
    assert (home / "outbox" / "index.html").exists()


def test_an_unsubscribe_link_leads_to_its_page_when_the_demo_runs_again(
    report: dict[str, Any], home: Path, settings: dict[str, str]
) -> None:
    mails = [path.read_bytes() for path in (home / "outbox").glob("*.eml")]
    links = {
        link for mail in mails for link in re.findall(rb"^List-Unsubscribe: <(\S+)>", mail, re.MULTILINE)
    }
    again = Up(home, settings=settings)
    again.start()
    try:
        pages = [httpx.get(link.decode(), trust_env=False) for link in sorted(links)[:3]]
    finally:
        again.stop()

    assert {200} == {page.status_code for page in pages}
    assert all("Unsubscribe" in page.text for page in pages)
    assert "while it runs: tessera up --home" in (home / "outbox" / "index.html").read_text()


def test_only_a_demo_s_own_folder_is_ever_removed(tmp_path: Path) -> None:
    kept = tmp_path / "thesis.txt"
    kept.write_text("years of work")
    done = _demo(tmp_path)

    assert 1 == done.returncode
    assert "is not a demo's" in done.stderr
    assert "years of work" == kept.read_text()
