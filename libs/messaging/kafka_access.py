"""Where Kafka's brokers are, and how this process gets in: one place for every client."""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.conn import AIOKafkaConnection  # type: ignore[import-untyped]
from aiokafka.errors import (  # type: ignore[import-untyped]
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest  # type: ignore[import-untyped]

from libs.errors import Misconfigured, Unavailable
from libs.settings import KafkaSettings, servers_of

_PROBE_SECONDS = 5.0
_CLOSING_SECONDS = 1.0
# A broker that expects TLS or a user, or none, hangs up on who comes otherwise; so does one that is stopped.
_HINT = "if it hangs up on us, it may want TLS, a certificate or a user, or none: we speak"


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Brokers, and what they ask of who connects."""

    servers: str
    """`host:port,host:port`"""
    protocol: str = "PLAINTEXT"
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    mechanism: str = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def of(cls, settings: KafkaSettings) -> "KafkaAccess":
        """What the settings tell; ValueError for an URL that names no brokers."""
        return cls(
            servers_of(settings.event_log_url),
            settings.kafka_security_protocol,
            settings.kafka_ca_file,
            settings.kafka_certificate_file,
            settings.kafka_key_file,
            settings.kafka_sasl_mechanism,
            settings.kafka_username,
            settings.kafka_password_now(),
        )

    def options(self) -> dict[str, Any]:
        """What each of aiokafka's clients is opened with; Misconfigured where a file is none of its kind."""
        return {"bootstrap_servers": self.servers, **self._security()}

    async def probe(self) -> None:
        """Return when a broker lets us in.

        Raises:
            Misconfigured: a broker refuses us, or we refuse it: no retry will help.
            Unavailable: no broker answers.
        """
        security = self._security()
        failures: list[Exception] = []
        for server in self.servers.split(","):
            host, _, port = server.rpartition(":")
            try:
                await _enter(host.strip("[]"), int(port), security)
                return
            except (KafkaError, OSError, TimeoutError, ValueError) as error:
                failures.append(self._explained(server, error))
        refused = (failure for failure in failures if isinstance(failure, Misconfigured))
        raise next(refused, failures[0])

    def _security(self) -> dict[str, Any]:
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = self._tls()
        if self.protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        return options

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(
                "KAFKA_CA_FILE, KAFKA_CERTIFICATE_FILE or KAFKA_KEY_FILE can't be used", error=str(error)
            ) from error
        return context

    def _explained(self, server: str, error: Exception) -> Exception:
        match error:
            case ssl.SSLCertVerificationError():
                vouches = self.ca_file or "the system"
                return Misconfigured(
                    f"{vouches} does not vouch for Kafka's certificate at {server}: {error.verify_message}"
                )
            case ssl.SSLError():
                return Misconfigured(
                    f"Kafka at {server} and {self.protocol} do not agree on TLS: {error.reason}"
                )
            case SaslAuthenticationFailed() | AuthenticationFailedError():
                return Misconfigured(f"Kafka at {server} refuses the user {self.username!r} or its password")
            case UnsupportedSaslMechanismError() | IllegalSaslStateError():
                return Misconfigured(f"Kafka at {server} does not take KAFKA_SASL_MECHANISM={self.mechanism}")
            case ValueError():
                return Misconfigured(f"Kafka at {server} is not who it says: {error}")
            case _:
                told = str(error) or type(error).__name__
                return Unavailable(f"Kafka does not answer at {server}: {told}; {_HINT} {self.protocol}")


async def _enter(host: str, port: int, security: dict[str, Any]) -> None:
    connection = AIOKafkaConnection(
        host, port, client_id="tessera", request_timeout_ms=int(_PROBE_SECONDS * 1000), **security
    )
    connected = True
    try:
        await connection.connect()
        # Who may not enter learns of it only now, where no user was asked for.
        await connection.send(MetadataRequest([]))
    except (OSError, TimeoutError, ValueError):
        connected = False
        raise
    finally:
        closed = connection.close()
        if connected:
            # Both sides take their leave of each other, and the loop may end right after.
            await asyncio.wait({closed}, timeout=_CLOSING_SECONDS)
