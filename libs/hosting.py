"""What the processes of all services have in common: their foundations, their roles, their end."""

import argparse
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import structlog
from pydantic import ValidationError

from libs import lifecycle, rpc
from libs.database import Database, Schema, is_transient, open_database, prepare_schemas, probe
from libs.database.tables import Sweep
from libs.errors import TesseraError
from libs.lifecycle import Component, wait_for
from libs.messaging import EventLog
from libs.messaging import schema as log_schema
from libs.messaging.kafka_access import KafkaAccess
from libs.messaging.opening import open_event_log, upkeep
from libs.messaging.retrying import passes
from libs.messaging.topics import owned_by
from libs.observability import configure_logs, configure_traces, serve_metrics, stop_traces
from libs.observability.metrics import tell_build
from libs.rpc.server import Service
from libs.settings import Role, ServiceSettings, problems_of

log = structlog.get_logger(__name__)

Settings = TypeVar("Settings", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class Foundations:
    """What a service is built on."""

    settings: ServiceSettings
    role: Role
    schema: Schema
    database: Database
    event_log: EventLog

    @property
    def serves(self) -> bool:
        """Whether this process answers calls."""
        return self.role in ("serve", "all")

    @property
    def consumes(self) -> bool:
        """Whether this process reads the log."""
        return self.role in ("consume", "all")

    async def run(self, services: Sequence[Service] = (), components: Sequence[Component] = ()) -> None:
        """Run until stopped: health and metrics in every role, `services` where this process serves."""
        settings = self.settings
        keys = rpc.ApiKeys.load(settings.api_keys_file) if settings.api_keys_file else rpc.ApiKeys()
        server = rpc.RpcServer(
            settings.grpc_address,
            services if self.serves else (),
            api_keys=keys,
            tls=self.tls,
            checks={"database": self.database.check, "event log": self.event_log.check},
            is_transient=is_transient,
        )
        await server.start()
        metrics = serve_metrics(settings.metrics_address)
        await lifecycle.run_until_stopped(server, metrics, *self._upkeep(), *components)

    def _upkeep(self) -> Sequence[Component]:
        """What keeps the log and the tables in order, beside the relay."""
        if self.role not in ("relay", "all"):
            return ()
        sweep = Sweep(self.database, self.schema.tables)
        return (*upkeep(self.database, self.event_log, self.settings), sweep)

    @property
    def tls(self) -> rpc.Tls | None:
        """The certificates of servers and channels."""
        settings = self.settings
        return rpc.Tls.of(settings.tls_certificate_file, settings.tls_key_file, settings.tls_ca_file)


@asynccontextmanager
async def open_foundations(
    settings: ServiceSettings, role: Role, schema: Schema
) -> AsyncIterator[Foundations]:
    """Connect to the database and the log; in the roles `all` and `migrate`, create what they lack.

    Both may still be starting, or start again meanwhile: they are waited for. Raises Misconfigured at
    once where one of them refuses us, Unavailable where one does not answer in time.
    """
    service = settings.service
    creates = role in ("all", "migrate")
    access = KafkaAccess.of(settings)

    async def reach_database() -> None:
        await probe(settings.database_url)
        if creates:
            await prepare_schemas(settings.database_url, log_schema.SCHEMA, schema)

    async def reach_log() -> None:
        if access.servers:
            await access.probe()
        if creates:
            await event_log.declare(owned_by(service))

    await wait_for("the database", reach_database, passes, settings.start_seconds)
    async with (
        open_database(settings.database_url, f"{service} {role}") as database,
        open_event_log(database, settings) as event_log,
    ):
        await wait_for("the event log", reach_log, passes, settings.start_seconds)
        yield Foundations(settings, role, schema, database, event_log)


def main(
    settings_type: type[Settings],
    run: Callable[[Settings, Role], Coroutine[Any, Any, None]],
) -> int:
    """The command line of `python -m services.<service>`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--role", choices=get_args(Role), default="all", help="what this process does")
    role: Role = parser.parse_args().role
    try:
        settings = settings_type()  # type: ignore[call-arg]  # from the environment
    except ValidationError as error:
        told = "\n".join(f"  {problem}" for problem in problems_of(error, settings_type.service))
        print(f"wrong settings:\n{told}", file=sys.stderr)  # noqa: T201 - logs are not configured yet
        return 2
    configure_logs(settings.service, settings.log_format, settings.log_level)
    configure_traces(settings.service, settings.trace_endpoint, settings.trace_ratio)
    tell_build(settings.service, settings.tessera_version)
    log.info("process starts", role=role, process=os.getpid())
    try:
        rpc.run(run(settings, role))
    except TesseraError as error:
        # Of the deployment, not of the code: a sentence says all.
        log.error("process can't go on", role=role, reason=error.reason, error=str(error))
        return 1
    except Exception:
        log.exception("process failed", role=role)
        return 1
    finally:
        stop_traces()
    log.info("process ends", role=role)
    return 0
