"""The command line that all connectors share."""

import argparse
import logging
import sys
from pathlib import Path

from connectors.delivery import Options

_ONCE_SECONDS = 2.0


def parser_of(description: str, connector: str) -> argparse.ArgumentParser:
    """Options for where render is, who asks, and when to end."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--address", default="127.0.0.1:50055", help="where render answers, as host:port")
    parser.add_argument("--api-key-file", type=Path, help="holds a key with render.deliver and pii.read")
    parser.add_argument("--tls", action="store_true", help="speak TLS, trusting the system's authorities")
    parser.add_argument("--tls-ca-file", type=Path, help="speak TLS, trusting this authority (PEM)")
    parser.add_argument("--name", default=connector, help="this connector's name, for logs and metrics")
    parser.add_argument("--max-in-flight", type=int, default=100, help="most messages in hand at once")
    parser.add_argument("--lease-seconds", type=int, default=60, help="after so long, others may take them")
    ending = parser.add_mutually_exclusive_group()
    ending.add_argument("--once", action="store_true", help="deliver what waits, then end")
    ending.add_argument("--idle-seconds", type=float, help="end once nothing has come for so long")
    return parser


def options_of(arguments: argparse.Namespace, concurrency: int = 1) -> Options:
    """The options that the command line gives."""
    return Options(
        connector=arguments.name,
        max_in_flight=arguments.max_in_flight,
        lease_seconds=arguments.lease_seconds,
        concurrency=concurrency,
        idle_seconds=_ONCE_SECONDS if arguments.once else arguments.idle_seconds,
    )


def trust_of(arguments: argparse.Namespace) -> tuple[bool, bytes | None]:
    """Whether to speak TLS, and whom to trust: None for the system's authorities."""
    ca_file: Path | None = arguments.tls_ca_file
    return arguments.tls or ca_file is not None, ca_file.read_bytes() if ca_file else None


def secret_in(path: Path | None) -> str:
    """The content of a file that holds a key or a password; nothing without a file."""
    return path.read_text().strip() if path else ""


def configure_logs() -> None:
    """One line an event, to standard error."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
