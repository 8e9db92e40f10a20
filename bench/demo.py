"""The demo as a person starts it, timed as a whole."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from bench.yardstick import data

_SECONDS = 900


def sample_shop() -> float:
    """Seconds of `tessera demo`, from start to end; `make demo` sets up the environment before it."""
    started = time.perf_counter()
    _run()
    return time.perf_counter() - started


def online_retail() -> tuple[float, float] | None:
    """Seconds from the first event of Online Retail to the last membership, and events a second."""
    folder = data() / "datasets" / "online-retail"
    if not folder.exists():
        print(f"no Online Retail: {folder} is not there (set TESSERA_DATA)", file=sys.stderr)
        return None
    report = _run("--data", str(folder))
    return float(report["applied_seconds"]), float(report["events_per_second"])


def _run(*arguments: str) -> dict[str, Any]:
    tessera = Path(sys.executable).with_name("tessera")
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        done = subprocess.run(
            [tessera, "demo", "--home", Path(folder) / "home", "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={k: v for k, v in os.environ.items() if not k.endswith(("DATABASE_URL", "EVENT_LOG_URL"))},
            check=True,
            timeout=_SECONDS,
        )
    report: dict[str, Any] = orjson.loads(done.stdout)
    return report
