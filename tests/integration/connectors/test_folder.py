"""The folder connector, as a process, from a message to a file."""

import asyncio
import signal
import sys
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from connectors import delivery
from connectors.delivery import Connector, Options
from connectors.folder.outbox import Outbox
from tests.integration.connectors.fake_render import FakeRender, message, serving
from tests.integration.render.rig import CONNECTOR_KEY, open_rig


async def start(address: str, folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    key = folder.parent / "key"
    key.write_text("the key\n")
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "connectors.folder", "--address", address, "--folder", str(folder)),
        *("--api-key-file", str(key), *arguments),
    )


def mails_in(folder: Path) -> list[Any]:
    parser = BytesParser(policy=policy.default)
    return [parser.parsebytes(path.read_bytes()) for path in sorted(folder.glob("*.eml"))]


async def test_messages_become_files_and_are_acknowledged(tmp_path: Path) -> None:
    render = FakeRender(message("key-1"), message("key-2"))
    async with serving(render) as address:
        process = await start(address, tmp_path / "outbox", "--idle-seconds", "0.5")
        assert 0 == await asyncio.wait_for(process.wait(), 20)

    first, second = mails_in(tmp_path / "outbox")
    assert ["key-1", "key-2"] == render.acknowledged
    assert {"Bearer the key"} == render.keys
    assert ("Grüße, Ada", "ada@example.com") == (first["Subject"], first["To"])
    assert ("<key-2@shop.example.com>", "<https://x.example/u>") == (
        second["Message-ID"],
        second["List-Unsubscribe"],
    )
    assert "Hallo Ada" == first.get_body(["plain"]).get_content().strip()
    assert "<p>Hallo Ada</p>" in first.get_body(["html"]).get_content()
    assert "Grüße, Ada" in (tmp_path / "outbox" / "index.html").read_text()


async def test_a_connector_killed_between_the_file_and_the_acknowledgement_leaves_one_file(
    tmp_path: Path,
) -> None:
    render = FakeRender(message())
    render.let_through.clear()
    async with serving(render) as address:
        killed = await start(address, tmp_path / "outbox")
        await asyncio.wait_for(render.acknowledging.wait(), 20)
        killed.kill()
        await killed.wait()
        (path,) = (tmp_path / "outbox").glob("*.eml")
        before, written = list(render.acknowledged), path.stat().st_mtime_ns
        render.let_through.set()
        again = await start(address, tmp_path / "outbox", "--idle-seconds", "0.5")
        assert 0 == await asyncio.wait_for(again.wait(), 20)

    assert [] == before
    assert ["key-1"] == render.acknowledged
    assert [path] == list((tmp_path / "outbox").glob("*.eml"))
    assert written == path.stat().st_mtime_ns


async def test_a_connector_that_is_asked_to_stop_finishes_what_it_has_in_hand(tmp_path: Path) -> None:
    render = FakeRender(message())
    render.let_through.clear()
    async with serving(render) as address:
        process = await start(address, tmp_path / "outbox")
        await asyncio.wait_for(render.acknowledging.wait(), 20)
        process.send_signal(signal.SIGTERM)
        render.let_through.set()
        code = await asyncio.wait_for(process.wait(), 20)

    assert (0, ["key-1"]) == (code, render.acknowledged)


async def test_a_connector_comes_back_when_render_does(tmp_path: Path) -> None:
    before, after = FakeRender(message("key-1")), FakeRender(message("key-2"))
    stopping = asyncio.Event()
    async with serving(before) as address, delivery.open_channel(address, "") as channel:
        working = asyncio.create_task(Connector(channel, Outbox(tmp_path), Options("test")).run(stopping))
        await _until(lambda: before.acknowledged == ["key-1"])
        await before.stop()
        async with serving(after, int(address.rpartition(":")[2])):
            await _until(lambda: after.acknowledged == ["key-2"])
            stopping.set()
            await asyncio.wait_for(working, 10)

    assert 2 == len(mails_in(tmp_path))


async def _until(holds: Any) -> None:
    async with asyncio.timeout(15):
        while not holds():  # noqa: ASYNC110 - another process's file, or a counter
            await asyncio.sleep(0.02)


async def test_a_transition_becomes_one_file_in_the_folder(database_url: str, tmp_path: Path) -> None:
    async with open_rig(database_url) as rig:
        await rig.put()
        transition = rig.transition(rig.profiles.add())
        await rig.decide(transition, transition)
        async with delivery.open_channel(rig.address, CONNECTOR_KEY) as channel:
            options = Options("test", idle_seconds=0.5)
            await asyncio.wait_for(Connector(channel, Outbox(tmp_path), options).run(asyncio.Event()), 20)
        (message,) = await rig.messages()

    (mail,) = mails_in(tmp_path)
    assert message.idempotency_key == mail["X-Tessera-Idempotency-Key"]
    assert (message.rfc5322_message_id, message.subject) == (mail["Message-ID"], mail["Subject"])
    assert "List-Unsubscribe=One-Click" == mail["List-Unsubscribe-Post"]
    assert 3 == message.delivery_state
