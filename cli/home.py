"""The folder that holds everything of one local Tessera: data, secrets, log, and who runs."""

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path(".tessera")


@dataclass(frozen=True, slots=True)
class Home:
    """Where what lies in the home folder."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> "Home":
        """The home at an absolute path, so that child processes find it from wherever they are."""
        return cls(folder.absolute())

    def create(self) -> None:
        """Make the folder, for nobody else to look into."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # PostgreSQL refuses to be root and may have to be `nobody`, who must be able to pass through
        # but still can't list the folder or read a file in it.
        self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for folder in (self.secrets, self.outbox):
            folder.mkdir(mode=0o700, exist_ok=True)

    @property
    def postgres(self) -> Path:
        """The embedded server's folder."""
        return self.folder / "postgres"

    @property
    def secrets(self) -> Path:
        """A file for each secret."""
        return self.folder / "secrets"

    @property
    def api_keys(self) -> Path:
        """The hashes of the API keys and what each may do: what the services read."""
        return self.folder / "api-keys.json"

    @property
    def lock(self) -> Path:
        """Held by the `tessera up` that runs here."""
        return self.folder / "lock"

    @property
    def running(self) -> Path:
        """What runs, and where it answers."""
        return self.folder / "running.json"

    @property
    def log(self) -> Path:
        """The log of all processes, as JSON lines."""
        return self.folder / "tessera.log"

    @property
    def outbox(self) -> Path:
        """Where the folder connector puts messages."""
        return self.folder / "outbox"

    @property
    def links_port(self) -> Path:
        """The HTTP port that links in the mails of a demo lead to; only a demo's home has it."""
        return self.folder / "links-port"

    @property
    def spans(self) -> Path:
        """The spans of traced events, as JSON lines."""
        return self.folder / "spans.jsonl"


def bytecode_cache() -> Path:
    """Where compiled Python modules are kept for all homes, as other programs keep their caches."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "tessera" / "bytecode"
