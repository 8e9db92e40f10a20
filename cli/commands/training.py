"""`tessera train`: a new model of recommend's."""

import os
import subprocess
import sys

from cli.access import password_name
from cli.environment import own_database
from cli.home import Home
from cli.running import Running
from cli.secret_files import SecretFiles
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, out, print_json
from libs.errors import TesseraError


def train(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Train the recommendations on everything that happened so far.

    Replicas of recommend take the new model over by themselves.
    """
    output = run_training(Home.at(home), Running.read(Home.at(home)))
    if as_json:
        print_json({"output": output})
    else:
        out.print(output, markup=False, soft_wrap=True)


def run_training(home: Home, running: Running) -> str:
    """Train in a process of its own, since a serving one never loads what training needs."""
    done = subprocess.run(
        [sys.executable, "-m", "services.recommend.training"],
        env=training_environment(home, running),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TesseraError(
            f"training failed (code {done.returncode}):\n{(done.stderr or done.stdout)[-2000:].rstrip()}"
        )
    return (done.stdout or done.stderr).strip()


def training_environment(home: Home, running: Running) -> dict[str, str]:
    """The settings of recommend that training reads."""
    environment = {name: value for name, value in os.environ.items() if name != "RECOMMEND_ADDRESS"}
    if not own_database(os.environ):
        password = SecretFiles(home.secrets).get(password_name("recommend"))
        at = running.database_url.rpartition("@")[2]
        environment["DATABASE_URL"] = f"postgresql://recommend:{password}@{at}"
    if "profile" in running.services:
        environment["PROFILE_ADDRESS"] = running.services["profile"].grpc
    environment["LOG_FORMAT"] = "json"
    return environment
