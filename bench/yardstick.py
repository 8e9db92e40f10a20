"""The yardstick: a throw-away prototype of the same pipeline without validation, merges or windows."""

import os
import subprocess
import sys
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parent.parent


def data() -> Path:
    """The folder of what is not part of the project: the prototype, and real data."""
    return Path(os.environ.get("TESSERA_DATA", ROOT.parent / "shared"))


def script() -> Path:
    """Where the prototype lies."""
    return data() / "prototypes" / "run_pipeline.py"


def events_per_second(events: int) -> float | None:
    """What the prototype reaches here and now; None where it is not there."""
    path = script()
    if not path.exists():
        print(f"no yardstick: {path} is not there (set TESSERA_DATA)", file=sys.stderr)
        return None
    uv = Path(sys.executable).parent / "uv"
    done = subprocess.run(
        [str(uv), "run", "--quiet", str(path), "--events", str(events), "--json"],
        capture_output=True,
        check=True,
        timeout=600,
    )
    return float(orjson.loads(done.stdout.splitlines()[-1])["end_to_end_per_s"])
