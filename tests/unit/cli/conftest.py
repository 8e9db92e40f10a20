"""Commands that call services which a test makes up."""

from collections.abc import Iterator

import pytest

from tests.unit.cli.served import Served


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """All services, at one address, told by the environment."""
    server = Served()
    monkeypatch.setenv("TESSERA_API_KEY", "key")
    for service in ("INGEST", "PROFILE", "SEGMENT", "RECOMMEND", "RENDER"):
        monkeypatch.setenv(f"{service}_ADDRESS", server.address)
    yield server
    server.stop()
