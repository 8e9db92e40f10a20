"""Generates libs/contracts from protos/: `python protos/generate.py`, or `--check` that it is current."""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
TARGET = ROOT / "libs" / "contracts" / "src"


def generate(target: Path) -> None:
    """Write messages, stubs and type information for every contract below `target`."""
    files = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{well_known}"]
    command += [f"--{plugin}_out={target}" for plugin in ("python", "grpc_python", "mypy", "mypy_grpc")]
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([*command, *files], check=True, cwd=PROTOS, env=environment, stderr=subprocess.DEVNULL)
    for path in target.rglob("*_pb2_grpc.py*"):
        if "Stub" not in path.read_text():
            path.unlink()  # a file without a service


def differences(expected: Path, actual: Path) -> list[str]:
    """Name the generated files that are missing, extra or different in `actual`."""

    def names(folder: Path) -> set[str]:
        return {str(p.relative_to(folder)) for p in folder.rglob("*_pb2*") if p.suffix in (".py", ".pyi")}

    every = names(expected) | names(actual)
    _, different, missing = filecmp.cmpfiles(expected, actual, every, shallow=False)
    return sorted(different + missing)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail if anything is out of date"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = differences(Path(folder), TARGET)
        if arguments.check:
            for name in stale:
                print(f"not current: {name}; run `make proto`", file=sys.stderr)
            return 1 if stale else 0
        for name in stale:
            source = Path(folder) / name
            if source.exists():
                (TARGET / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, TARGET / name)
            else:
                (TARGET / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
