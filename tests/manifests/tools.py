"""Builds what PyPI doesn't carry, once, into `.cache/tools`: a machine needs nothing but the virtualenv."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".cache" / "tools"
KUSTOMIZE_VERSION = "v5.7.1"


def script(name: str) -> Path:
    """A program that the virtualenv carries."""
    return Path(sys.executable).parent / name


def kustomize() -> Path:
    """The path of kustomize, built by the virtualenv's Go where it isn't there yet."""
    program = TOOLS / f"kustomize-{KUSTOMIZE_VERSION}"
    if not program.exists():
        TOOLS.mkdir(parents=True, exist_ok=True)
        _install(f"sigs.k8s.io/kustomize/kustomize/v5@{KUSTOMIZE_VERSION}", "kustomize", program)
    return program


def _install(module: str, binary: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=TOOLS, prefix="go-") as folder:
        scratch = Path(folder)
        # Where modules come from is the machine's to say: its environment is inherited. The 300 MB that the
        # build needs go with the folder; without -modcacherw they could not be removed.
        environment = {
            **os.environ,
            "GOBIN": str(scratch / "bin"),
            "GOPATH": str(scratch / "go"),
            "GOMODCACHE": str(scratch / "go" / "pkg" / "mod"),
            "GOCACHE": str(scratch / "cache"),
            "GOFLAGS": "-mod=mod -modcacherw",
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        }
        command = [str(script("go")), "install", module]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"go install {module} failed:\n{result.stderr[-4000:]}")
        # Two test runs may build at once: the last one wins, and nobody sees half a file.
        (scratch / "bin" / binary).replace(target)
