"""A whole Tessera on one machine: PostgreSQL, the five services, and who looks after them."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.metadata import version
from types import TracebackType
from typing import Self

from cli import access, lock
from cli.environment import Environment, own_database
from cli.home import Home, bytecode_cache
from cli.local_postgres import open_postgres, prepare_log
from cli.log_lines import MergedLog
from cli.ports import SERVICES, Ports, address
from cli.readiness import wait_until_ready
from cli.running import DEFAULT_PARTITIONS, Running, RunningService, kafka_settings
from cli.secret_files import SecretFiles
from cli.supervisor import Program, Supervisor
from libs.database.roles import prepare_database

DATABASE = "tessera"


class Stack:
    """Starts when entered, stops when left: services first, then PostgreSQL."""

    def __init__(
        self,
        home: Home,
        ports: Ports,
        log: MergedLog,
        *,
        given: Mapping[str, str],
        services: Sequence[str] = SERVICES,
        traced: bool = False,
    ) -> None:
        self.home = home
        self.ports = ports
        self._log = log
        self._given = given
        self._services = services
        self._traced = traced
        self._open = AsyncExitStack()
        self._supervisor: Supervisor | None = None
        self._database_url = own_database(given)
        self._ready = False

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.enter_context(lock.hold(self.home.lock))
            self.home.running.unlink(missing_ok=True)  # a killed one's
            self._log.say("starting", home=str(self.home.folder))
            self.ports.check(self._services)
            environment = await self._environment(stack)
            programs = [
                Program(
                    name, (sys.executable, "-m", f"services.{name}", "--role", "all"), environment.of(name)
                )
                for name in self._services
            ]
            self._supervisor = Supervisor(programs, self._log, self._tell)
            stack.callback(self.home.running.unlink, missing_ok=True)
            self._supervisor.start()
            stack.push_async_callback(self._supervisor.stop)
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def wait_until_ready(self, seconds: float = 60) -> Collection[str]:
        """Wait for all services; return the names of those that are not ready when the time is over."""
        addresses = {name: address(self.ports.grpc[name]) for name in self._services}
        http = address(self.ports.http) if "ingest" in self._services else None
        late = await wait_until_ready(addresses, http, seconds)
        if not late:
            self._ready = True
            self._tell()
        return late

    @property
    def running(self) -> Running:
        """What other commands are told."""
        supervised = self._supervisor.supervised if self._supervisor else {}
        return Running(
            process_id=os.getpid(),
            version=version("tessera"),
            http=f"http://{address(self.ports.http)}",
            database_url=self._database_url,
            event_log_url=self._given.get("EVENT_LOG_URL", ""),
            namespace=self._namespace,
            services={
                name: RunningService(
                    grpc=address(self.ports.grpc[name]),
                    metrics=address(self.ports.metrics[name]),
                    process_id=each.process_id,
                    restarts=each.restarts,
                )
                for name, each in supervised.items()
            },
            ready=self._ready,
            partitions=self._partitions,
            kafka=kafka_settings(self._given),
        )

    @property
    def _namespace(self) -> str:
        return self._given.get("TESSERA_NAMESPACE", "tessera")

    @property
    def _partitions(self) -> int:
        return int(self._given.get("TOPIC_PARTITIONS", DEFAULT_PARTITIONS))

    async def _environment(self, stack: AsyncExitStack) -> Environment:
        secrets = SecretFiles(self.home.secrets)
        access.write_api_keys(self.home, secrets)
        urls: dict[str, str] = {}
        if not self._database_url:
            passwords = {name: secrets.get(access.password_name(name)) for name in SERVICES}
            server = await stack.enter_async_context(open_postgres(self.home.postgres, self._log))
            await prepare_database(server.url(), DATABASE, passwords)
            self._database_url = server.url(DATABASE)
            urls = {name: server.url(DATABASE, name, password) for name, password in passwords.items()}
        if not self._given.get("EVENT_LOG_URL") and (urls or self._given.get("DATABASE_URL")):
            await prepare_log(self._database_url, self._partitions, self._namespace)
        # The sources may not be ours to write beside, but every start would compile them anew.
        compiled = str(bytecode_cache()) if self._given.get("PYTHONDONTWRITEBYTECODE") else ""
        return Environment(self.home, self.ports, secrets, self._given, self._traced, compiled, urls)

    def _tell(self) -> None:
        self.running.write(self.home)
