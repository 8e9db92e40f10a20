from pathlib import Path

import pytest

from cli.clients import connect
from cli.running import DEFAULT_PARTITIONS, Running
from libs.errors import FailedPrecondition


async def test_with_a_key_in_the_environment_commands_call_what_its_addresses_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_API_KEY", "secret")
    monkeypatch.setenv("PROFILE_ADDRESS", "profile:50051")
    monkeypatch.setenv("EVENT_LOG_URL", "kafka://kafka:9092")
    monkeypatch.setenv("TOPIC_PARTITIONS", "64")
    async with connect(tmp_path) as clients:
        running = clients.running

        assert "secret" == clients.api_key
        assert {"profile": "profile:50051"} == {n: s.grpc for n, s in running.services.items()}
        assert ("kafka://kafka:9092", 64) == (running.event_log_url, running.partitions)
        with pytest.raises(FailedPrecondition, match="SEGMENT_ADDRESS is not set"):
            await clients.segment()


async def test_without_a_key_an_empty_home_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROFILE_ADDRESS", "profile:50051")

    with pytest.raises(FailedPrecondition, match="nothing is running here"):
        async with connect(tmp_path):
            pass


def test_an_environment_that_says_little_has_the_usual_names() -> None:
    running = Running.told_by({})

    assert ("tessera", DEFAULT_PARTITIONS, {}) == (running.namespace, running.partitions, running.services)
