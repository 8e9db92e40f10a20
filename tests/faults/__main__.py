"""`make faults`: every fault as often as the plan says, and the results into docs/faults.md."""

import os
import subprocess
import sys

from tests.faults.plans import ALL


def main() -> int:
    """Run the whole plan; further arguments are pytest's, such as `-k members`."""
    command = [sys.executable, "-m", "pytest", "tests/faults", "-s", *sys.argv[1:]]
    return subprocess.run(command, env={**os.environ, ALL: "1"}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
