"""`tessera train`: a new model of recommend's."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import IO

import msgspec

from cli.access import password_name
from cli.environment import own_database
from cli.home import Home
from cli.running import Running
from cli.secret_files import SecretFiles
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, err, out, print_json
from libs.errors import TesseraError

_CANCELLED = 3
_MOST_TOLD = 2000


class _Line(msgspec.Struct):
    """A line of the log that says how far a training is."""

    event: str
    done: int = 0
    total: int = 0
    detail: str = ""


def train(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Train the recommendations on everything that happened so far.

    Replicas of recommend take the new model over by themselves. Ctrl-C ends the training at its next step,
    and the last model goes on serving.
    """
    at = Home.at(home)
    with err.status("training") as status:
        output = run_training(
            at,
            Running.read(at),
            lambda done, total, detail: status.update(f"training: {detail} ({done} of {total})"),
        )
    if as_json:
        print_json({"output": output})
    else:
        out.print(output, markup=False, soft_wrap=True)


def run_training(
    home: Home, running: Running, told: Callable[[int, int, str], None] = lambda *_: None
) -> str:
    """Train in a process of its own, since a serving one never loads what training needs.

    `told` hears how far it is: steps done, steps in all, and what it is at.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "services.recommend.training"],
        env=training_environment(home, running),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # What it prints in the end is short: it fits into the pipe while the log is read.
        try:
            problems = follow(process.stderr, told)
        except KeyboardInterrupt:
            # The terminal has told it as well: it keeps its account, then ends.
            problems = follow(process.stderr, told)
        output = process.stdout.read().strip()
    if process.returncode == _CANCELLED:
        raise TesseraError(problems[-1] if problems else "the training was cancelled")
    if process.returncode:
        text = "\n".join(problems)[-_MOST_TOLD:].rstrip() or output
        raise TesseraError(f"training failed (code {process.returncode}):\n{text}")
    return output


def follow(lines: IO[str], told: Callable[[int, int, str], None]) -> list[str]:
    """Read a training's log to its end; returns the lines that are no account of how far it is."""
    others = []
    for line in lines:
        try:
            at = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError:
            others.append(line.rstrip())
            continue
        if at.total:
            told(at.done, at.total, at.detail)
    return others


def training_environment(home: Home, running: Running) -> dict[str, str]:
    """The settings of recommend that training reads."""
    environment = {name: value for name, value in os.environ.items() if name != "RECOMMEND_ADDRESS"}
    if not own_database(os.environ):
        password = SecretFiles(home.secrets).get(password_name("recommend"))
        at = running.database_url.rpartition("@")[2]
        environment["DATABASE_URL"] = f"postgresql://recommend:{password}@{at}"
    environment["LOG_FORMAT"] = "json"
    return environment
