"""What runs, and where it answers: told by the `tessera up` of a home, or else by the environment."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Self

import msgspec
from pydantic import ValidationError

from cli import lock
from cli.home import Home
from cli.ports import SERVICES
from cli.secret_files import write_private
from libs.errors import FailedPrecondition
from libs.messaging.kafka_access import KafkaAccess
from libs.settings import KafkaSettings, problems_of

DEFAULT_PARTITIONS = 8


class RunningService(msgspec.Struct, frozen=True):
    """One service."""

    grpc: str
    metrics: str
    process_id: int | None = None
    restarts: int = 0


class Running(msgspec.Struct, frozen=True):
    """A Tessera that commands can call."""

    process_id: int | None
    """Of its `tessera up`; None for one that the environment tells of."""
    version: str
    http: str
    database_url: str
    """An administrator's; so the file is as secret as the secrets."""
    event_log_url: str
    namespace: str
    services: dict[str, RunningService]
    ready: bool = False
    partitions: int = DEFAULT_PARTITIONS
    kafka: dict[str, str] = {}
    """How its Kafka lets us in: the settings `KAFKA_...`, whose files must be readable here as well."""

    @property
    def kafka_access(self) -> KafkaAccess:
        """How commands get into its log; FailedPrecondition names a setting that is wrong."""
        told = {name.lower(): value for name, value in self.kafka.items()}
        try:
            return KafkaAccess.of(KafkaSettings.model_validate({**told, "event_log_url": self.event_log_url}))
        except ValidationError as error:
            raise FailedPrecondition("; ".join(problems_of(error, "tessera"))) from None

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

    @classmethod
    def told_by(cls, environment: Mapping[str, str]) -> Self:
        """What runs elsewhere, by the names that the services' own settings have."""
        services = {
            name: RunningService(address, "")
            for name in SERVICES
            if (address := environment.get(f"{name.upper()}_ADDRESS"))
        }
        return cls(
            process_id=None,
            version=version("tessera"),
            http=environment.get("PUBLIC_URL", ""),
            database_url=environment.get("DATABASE_URL", ""),
            event_log_url=environment.get("EVENT_LOG_URL", ""),
            namespace=environment.get("TESSERA_NAMESPACE", "tessera"),
            services=services,
            ready=True,
            partitions=int(environment.get("TOPIC_PARTITIONS", DEFAULT_PARTITIONS)),
            kafka=kafka_settings(environment),
        )


def kafka_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What an environment tells of the way into Kafka."""
    names = {name.upper() for name in KafkaSettings.model_fields if name.startswith("kafka_")}
    return {name: value for name, value in environment.items() if name in names}
