"""Certificates for servers and channels."""

from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True)
class Tls:
    """PEM files. A server presents the certificate; so does a client, where servers ask for one (mTLS)."""

    certificate_file: Path | None = None
    """One's own certificate chain. A server without it speaks plain text."""
    key_file: Path | None = None
    """The certificate's private key."""
    ca_file: Path | None = None
    """Whom to trust. A server that has it asks for certificates; a client without it trusts the system's."""

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("a TLS certificate and its key come together")

    @classmethod
    def of(cls, certificate_file: Path | None, key_file: Path | None, ca_file: Path | None) -> "Tls | None":
        """Return the settings' files, or None for plain text where none is set."""
        if certificate_file is key_file is ca_file is None:
            return None
        return cls(certificate_file, key_file, ca_file)

    def server_credentials(self) -> grpc.ServerCredentials | None:
        """Return what a server listens with, None for plain text. Raises `OSError` for an unreadable file."""
        if self.certificate_file is None or self.key_file is None:
            return None
        pair = (self.key_file.read_bytes(), self.certificate_file.read_bytes())
        return grpc.ssl_server_credentials([pair], _read(self.ca_file), self.ca_file is not None)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return what a client connects with. Raises `OSError` for an unreadable file."""
        return grpc.ssl_channel_credentials(
            _read(self.ca_file), _read(self.key_file), _read(self.certificate_file)
        )


def _read(path: Path | None) -> bytes | None:
    return path.read_bytes() if path else None
