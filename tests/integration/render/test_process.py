"""The service as a process: its roles, its settings, its end."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs import rpc
from libs.database import open_database
from libs.database.embedded import free_port
from libs.messaging import PostgresLog
from libs.messaging.topics import owned_by
from tessera.render.v1 import preview_service_pb2 as pb
from tessera.render.v1 import preview_service_pb2_grpc
from tests.integration.render.rig import KEY


def environment(database_url: str, port: int, **more: str) -> Mapping[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RENDER_")},
        "DATABASE_URL": database_url,
        "GRPC_ADDRESS": f"127.0.0.1:{port}",
        "TOPIC_PARTITIONS": "2",
        "PROFILE_ADDRESS": "127.0.0.1:1",
        "SEGMENT_ADDRESS": "127.0.0.1:1",
        "RECOMMEND_ADDRESS": "127.0.0.1:1",
        **more,
    }


@asynccontextmanager
async def process(role: str, settings: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.render", "--role", role), env=settings
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


@pytest.fixture
async def topics(database_url: str) -> str:
    """A database where segment has made its topics."""
    async with open_database(database_url, "test") as database:
        await PostgresLog(database, 2).declare(owned_by("segment"))
    return database_url


async def test_it_starts_answers_and_ends_when_asked(topics: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    hashed = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
    keys.write_text(f'{{"test": {{"sha256": "{hashed}", "permissions": ["render.*"]}}}}')
    port = free_port()
    settings = environment(topics, port, UNSUBSCRIBE_KEYS=KEY, API_KEYS_FILE=str(keys))
    async with process("all", settings) as running:
        async with rpc.open_channel(f"127.0.0.1:{port}", api_key="secret") as channel:
            stub = preview_service_pb2_grpc.PreviewServiceStub(channel)
            request = pb.PreviewTemplateRequest(
                template={"subject": "{{ name }}", "html": "h"}, context_json=b'{"name": "Ada"}'
            )
            shown = await stub.PreviewTemplate(request, timeout=30, wait_for_ready=True)
        running.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(running.wait(), 25)

    assert ("Ada", 0) == (shown.subject, code)


async def test_without_a_secret_for_unsubscribe_links_it_does_not_start(topics: str) -> None:
    async with process("serve", environment(topics, free_port(), UNSUBSCRIBE_KEYS="short")) as running:
        code = await asyncio.wait_for(running.wait(), 25)

    assert 1 == code


async def test_migrations_and_the_relay_need_no_secret(topics: str) -> None:
    async with process("migrate", environment(topics, free_port())) as running:
        code = await asyncio.wait_for(running.wait(), 25)

    assert 0 == code
