"""Further consumers of a service: they join, leave, and come back from the dead."""

import asyncio
import itertools
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.faults.logs import lines_of
from tests.faults.system import System
from tests.integration.messaging.harness import until

PARTITIONS = frozenset(range(8))
_JOIN_SECONDS = 180
_LEAVE_SECONDS = 60
_numbers = itertools.count()


class Member:
    """One more process that reads a service's share of the log."""

    def __init__(self, system: System, service: str) -> None:
        self.group = f"{system.namespace}.{service}"
        self.name = f"{service} member {next(_numbers)}"
        self.log = system.home.folder / f"{self.name}.log".replace(" ", "-")
        self._system = system
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                (sys.executable, "-m", f"services.{service}", "--role", "consume"),
                env=system.consumer_environment(service),
                stderr=output,
            )
        system.members.append(self.log)

    async def until_it_works(self, position: int = 0) -> None:
        """Wait until it has been given partitions, after the first bytes of its log."""

        def has_some() -> bool:
            return bool(_assigned([self.lines_since(position)], self.group))

        await until(has_some, _JOIN_SECONDS, f"{self.name}'s partitions")

    def assigned(self) -> frozenset[int]:
        """The partitions that it was given last."""
        return _assigned([self.lines_since(0)], self.group)

    def lines_since(self, position: int) -> list[dict[str, Any]]:
        """What it has logged after so many bytes."""
        return lines_of(self.log, position)

    async def until_others_have_all(self) -> None:
        """Wait until the others share all partitions."""
        await until(self._others_have_all, _JOIN_SECONDS, "that the others take over")

    async def leave(self) -> None:
        """End it in order."""
        self.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self.process.wait, _LEAVE_SECONDS)
        assert code == 0, f"{self.name} ended with {code}: {self.log.read_text()[-2000:]}"

    def _others_have_all(self) -> bool:
        return _assigned(map(lines_of, self._system.own_logs), self.group) == PARTITIONS


@contextmanager
def joining(system: System, *services: str) -> Iterator[list[Member]]:
    """Start members; none is left behind."""
    started: list[Member] = []
    try:
        started.extend(Member(system, service) for service in services)
        yield started
    finally:
        for member in started:
            member.process.kill()
            member.process.wait()


def _assigned(logs: Iterable[Iterable[Mapping[str, Any]]], group: str) -> frozenset[int]:
    """The partitions that the processes with these logs were given last."""
    last: dict[str, frozenset[int]] = {}
    for lines in logs:
        for line in lines:
            if line["event"] == "partitions assigned" and line["group"] == group:
                last[line["service"]] = frozenset(line["partitions"])
    return frozenset().union(*last.values())
