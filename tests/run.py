"""Runs every check and every test: `make test`, which CI runs too.

`python -m tests.run [step …] [-- pytest arguments]` runs some of the steps alone.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def latest_release() -> str | None:
    """The newest release tag: what the contracts must not break. None before the first release."""
    tags = subprocess.run(
        ["git", "tag", "--list", "v*", "--sort=-version:refname"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return next(iter(tags.stdout.split()), None)


def steps(pytest_arguments: list[str]) -> dict[str, list[str] | None]:
    """The commands by name, cheapest first; None where there is nothing to do."""
    release = latest_release()
    against = f".git#tag={release},subdir=protos"
    return {
        "contracts": [f"{BIN}/buf", "lint"],
        "contracts-format": [f"{BIN}/buf", "format", "--diff", "--exit-code", "protos"],
        "contracts-breaking": release and [f"{BIN}/buf", "breaking", "protos", "--against", against],
        "generated": [sys.executable, "protos/generate.py", "--check"],
        "lint": [f"{BIN}/ruff", "check", "--quiet", "."],
        "format": [f"{BIN}/ruff", "format", "--check", "--quiet", "."],
        "types": [f"{BIN}/mypy"],
        "boundaries": [f"{BIN}/lint-imports"],
        "tests": [sys.executable, "-m", "pytest", *pytest_arguments],
    }  # type: ignore[dict-item]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    names = list(steps([]))
    parser.add_argument("step", nargs="*", help=f"some of: {', '.join(names)}; all when none is named")
    own, pytest_arguments = sys.argv[1:], []
    if "--" in own:
        own, pytest_arguments = own[: own.index("--")], own[own.index("--") + 1 :]
    wanted = parser.parse_args(own).step or names
    if unknown := set(wanted) - set(names):
        parser.error(f"no such step: {', '.join(sorted(unknown))}")
    failed = []
    # The tools of this environment first: nothing else needs to be installed.
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    for name, command in steps(pytest_arguments).items():
        if name not in wanted:
            continue
        if command is None:
            print(f"== {name}: nothing to compare with before the first release", flush=True)
            continue
        started = time.monotonic()
        print(f"== {name}", flush=True)
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        print(f"== {name}: {'failed' if code else 'ok'} ({time.monotonic() - started:.1f} s)", flush=True)
        if code:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
