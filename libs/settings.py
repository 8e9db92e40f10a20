"""Typed settings that all services share. Each service's own `settings` module builds on `ServiceSettings`.

A value is read from `<SERVICE>_<NAME>`, such as `PROFILE_DATABASE_URL`, else from `<NAME>`. Names
that nobody knows under a service's prefix stop the start, as missing values do.
"""

import os
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

_OWN_WORDS = "Value error, "

Role = Literal["serve", "consume", "relay", "migrate", "all"]


class _PrefixThenPlain(PydanticBaseSettingsSource):
    """Looks a field up under the service's prefix first, then without it."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        prefix = str(self.settings_cls.service).upper()  # type: ignore[attr-defined]
        for name in (f"{prefix}_{field_name.upper()}", field_name.upper()):
            if name in os.environ:
                return os.environ[name], field_name, False
        return None, field_name, False

    def __call__(self) -> dict[str, str]:
        fields = self.settings_cls.model_fields.items()
        found = {name: self.get_field_value(field, name)[0] for name, field in fields}
        return {name: value for name, value in found.items() if value is not None}


_SCHEME = "kafka://"


def servers_of(url: str) -> str:
    """Kafka's servers as `host:port,host:port`; empty where the log is PostgreSQL's; else ValueError."""
    if not url:
        return ""
    servers = url.removeprefix(_SCHEME).rstrip("/")
    if "@" in servers:
        raise ValueError("EVENT_LOG_URL may hold no credentials: set KAFKA_USERNAME and KAFKA_PASSWORD_FILE")
    named = [server.rpartition(":") for server in servers.split(",")]
    if not url.startswith(_SCHEME) or not all(host and port.isdecimal() for host, _, port in named):
        # Not the URL itself: it may hold a password.
        raise ValueError("EVENT_LOG_URL must be empty, or kafka://host:port,host:port")
    return servers


class KafkaSettings(BaseModel):
    """Which event log there is, and how Kafka lets us in: of services, and of commands that read the log."""

    event_log_url: str = ""
    """Empty: the log in the same PostgreSQL. `kafka://host:port,host:port`: Kafka; never with credentials."""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How to connect: SSL with TLS, SASL with a user."""
    kafka_ca_file: Path | None = None
    """Whom to trust as a broker (PEM); the system's certificates unless set. Host names are checked."""
    kafka_certificate_file: Path | None = None
    """Our certificate chain (PEM), for brokers that ask clients for one."""
    kafka_key_file: Path | None = None
    """Our private key (PEM), where it is not in the file of the certificate."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How the user is proved. PLAIN shows the broker the password: only with TLS."""
    kafka_username: str = ""
    """The user that brokers know us by."""
    kafka_password: SecretStr = SecretStr("")
    """The user's password, where it is not in a file."""
    kafka_password_file: Path | None = None
    """A file that holds the user's password, read at the start; a newline at its end does not count."""

    def kafka_password_now(self) -> str:
        """The password that the settings lead to; OSError where its file can't be read."""
        if self.kafka_password_file is None:
            return self.kafka_password.get_secret_value()
        return self.kafka_password_file.read_text().rstrip("\r\n")

    @model_validator(mode="after")
    def _check_kafka(self) -> Self:
        servers_of(self.event_log_url)
        files = ("kafka_ca_file", "kafka_certificate_file", "kafka_key_file", "kafka_password_file")
        for name in files:
            path = getattr(self, name)
            if path is not None and not os.access(path, os.R_OK):
                raise ValueError(f"{name.upper()} is no file that can be read: {path}")
        if self.kafka_password.get_secret_value() and self.kafka_password_file:
            raise ValueError("KAFKA_PASSWORD and KAFKA_PASSWORD_FILE are both set")
        if self.kafka_key_file and not self.kafka_certificate_file:
            raise ValueError("KAFKA_KEY_FILE is set without KAFKA_CERTIFICATE_FILE")
        secured = self.kafka_security_protocol
        if secured.startswith("SASL") and not (self.kafka_username and self.kafka_password_now()):
            raise ValueError(f"{secured} needs KAFKA_USERNAME, and KAFKA_PASSWORD_FILE or KAFKA_PASSWORD")
        if self.kafka_username and not secured.startswith("SASL"):
            raise ValueError(f"KAFKA_USERNAME is set, but KAFKA_SECURITY_PROTOCOL is {secured}")
        if self.kafka_ca_file and not secured.endswith("SSL"):
            raise ValueError(f"KAFKA_CA_FILE is set, but KAFKA_SECURITY_PROTOCOL is {secured}")
        if secured == "SASL_PLAINTEXT" and self.kafka_sasl_mechanism == "PLAIN":
            raise ValueError("PLAIN without TLS would show everybody the password: take SASL_SSL, or SCRAM")
        return self


class ServiceSettings(KafkaSettings, BaseSettings):
    """What every service is told by its environment."""

    model_config = SettingsConfigDict(extra="forbid")

    service: ClassVar[str] = ""

    database_url: str
    """The service's PostgreSQL, as `postgresql://user:password@host:port/database`."""
    tessera_namespace: str = Field("tessera", pattern=r"^[a-z][a-z0-9_]{0,30}$")
    """Prefixes topics and groups, so that deployments can share a cluster."""
    tessera_version: str = ""
    """What the metric `tessera_build_info` tells: an image's version; else the installed package's."""
    topic_partitions: int = Field(8, ge=1, le=4096)
    """Partitions of every topic: 8 embedded, 64 in production. A divisor of 4,096; fixed at first start."""
    topic_replicas: int = Field(1, ge=1)
    """Replicas of every topic on Kafka: 3 in production, with `min.insync.replicas` one less."""
    grpc_address: str = "127.0.0.1:0"
    """Where the gRPC server listens; port 0 takes a free one."""
    metrics_address: str = ""
    """Where Prometheus reads metrics, as `host:port`; empty for nowhere."""
    api_keys_file: Path | None = None
    """A JSON file of API keys: `{"name": {"sha256": "<hex>", "permissions": ["profile.read"]}}`. Its
    changes are taken up while the service runs."""
    service_api_key: str = ""
    """The key with which this service calls the others."""
    tls_certificate_file: Path | None = None
    """The server's certificate chain (PEM). Without it the server speaks plain text."""
    tls_key_file: Path | None = None
    """The server's private key (PEM)."""
    tls_ca_file: Path | None = None
    """Whom to trust (PEM): servers that this one calls, and, where set, clients (mTLS)."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """JSON lines, or colour for people; auto: colour where standard error is a terminal."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged."""
    trace_endpoint: str = ""
    """Where spans go, as an OTLP/HTTP URL such as `http://collector:4318/v1/traces`; empty for nowhere."""
    trace_ratio: float = Field(0.01, ge=0, le=1)
    """The share of events that are traced from ingest to message."""
    start_seconds: float = Field(60, ge=0, le=3600)
    """How long the database and Kafka may take to answer at the start."""
    consumer_workers: int = Field(2, ge=1, le=64)
    """How many workers share this process's partitions, each with its own connection."""
    batch_records: int = Field(4000, ge=1, le=20000)
    """The most records that a worker handles in one transaction."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if 4096 % self.topic_partitions:
            raise ValueError("topic_partitions must divide 4,096")
        known = {name.upper() for name in type(self).model_fields}
        prefix = f"{self.service.upper()}_"
        unknown = [n for n in os.environ if n.startswith(prefix) and n.removeprefix(prefix) not in known]
        if unknown:
            names = ", ".join(sorted(unknown))
            raise ValueError(f"unknown: {names}. All that begins with {prefix} is {self.service}'s own")
        return self

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *args: object, **sources: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (sources["init_settings"], _PrefixThenPlain(settings_cls))


def problems_of(error: ValidationError, service: str) -> list[str]:
    """What is wrong with settings, by their names in the environment; never what they were set to."""
    told = []
    for one in error.errors():
        name = "_".join(map(str, one["loc"])).upper()
        problem = one["msg"].removeprefix(_OWN_WORDS)
        if one["type"] == "missing":
            problem = f"is not set, nor is {service.upper()}_{name}"
        told.append(f"{name} {problem}" if name else problem)
    return told
