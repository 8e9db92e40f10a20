"""What runs in a home, and where it answers: written by `tessera up`, read by every other command."""

from typing import Self

import msgspec

from libs.cli import lock
from libs.cli.home import Home
from libs.cli.secret_files import write_private
from libs.errors import FailedPrecondition


class RunningService(msgspec.Struct, frozen=True):
    """One service."""

    grpc: str
    metrics: str
    process_id: int | None = None
    restarts: int = 0


class Running(msgspec.Struct, frozen=True):
    """A local Tessera."""

    process_id: int
    version: str
    http: str
    database_url: str
    """An administrator's; so the file is as secret as the secrets."""
    event_log_url: str
    namespace: str
    services: dict[str, RunningService]
    ready: bool = False

    def write(self, home: Home) -> None:
        """Tell the other commands."""
        write_private(home.running, msgspec.json.format(msgspec.json.encode(self)).decode() + "\n")

    @classmethod
    def read(cls, home: Home) -> Self:
        """What runs here; FailedPrecondition where nothing does."""
        # The file of one that was killed is still there: only the lock tells the living.
        if lock.holder_of(home.lock) is None or not home.running.exists():
            raise FailedPrecondition(
                f"nothing is running here (home {home.folder}): start with `tessera up`, "
                "or say where it runs with --home"
            )
        return msgspec.json.decode(home.running.read_bytes(), type=cls)
