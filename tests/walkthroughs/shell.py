"""One shell that a page's commands run in, one block after the other."""

import doctest
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.home import bytecode_cache
from tests.walkthroughs.page import Commands, File

_BLOCK_SECONDS = 240
_UNTIL_SECONDS = 240
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Shell:
    """A bash in the checkout's folder, with its environment on the path, as after setting up."""

    def __init__(self, checkout: Path, work: Path) -> None:
        self._work = work
        self._output = work / "output"
        self._output.touch()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        given = {k: v for k, v in os.environ.items() if not k.endswith(("DATABASE_URL", "EVENT_LOG_URL"))}
        # As a reader's Python does, keep compiled modules: else each command compiles all it imports.
        given.pop("PYTHONDONTWRITEBYTECODE", None)
        compiled = str(bytecode_cache())
        with self._output.open("ab") as output:
            self._bash = subprocess.Popen(
                ["bash"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=checkout,
                env={
                    **given,
                    "PATH": path,
                    "PYTHONPYCACHEPREFIX": compiled,
                    "COLUMNS": "200",
                    "NO_COLOR": "1",
                },
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the shell and what it left in the background: first kindly, as Ctrl-C would."""
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._bash.pid, number)
            except ProcessLookupError:
                break
            end = time.monotonic() + 20
            while _lives(self._bash) and time.monotonic() < end:
                time.sleep(0.05)
        self._bash.wait()

    def do(self, block: Commands | File) -> None:
        """Do what a block says; AssertionError tells what came out instead."""
        if isinstance(block, File):
            self._run(f"cat > {block.name} <<'END-OF-FILE'\n{block.text}END-OF-FILE\n", block.line)
            return
        end = time.monotonic() + _UNTIL_SECONDS
        while True:
            output, code = self._run(block.text, block.line)
            fits = code == 0 and (block.expected is None or is_as_expected(output, block.expected))
            if fits or not block.until or time.monotonic() > end:
                break
            time.sleep(0.2)

        assert fits, f"line {block.line}: exit code {code}\n{output}\n-- instead of\n{block.expected}"

    def _run(self, text: str, line: int) -> tuple[str, int]:
        """What commands print, and how the first that fails, or the last, ended."""
        file, done = self._work / "block.sh", self._work / "done"
        file.write_text(text)
        done.unlink(missing_ok=True)
        started = self._output.stat().st_size
        # Functions, variables and folders stay; a failing command ends the block, not the shell.
        script = f"trap 'code=$?; trap - ERR; return $code' ERR; . {file}; code=$?; trap - ERR\n"
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{script}echo $code > {done}.new; mv {done}.new {done}\n".encode())
        self._bash.stdin.flush()
        end = time.monotonic() + _BLOCK_SECONDS
        while not done.exists():
            printed = self._printed(started)
            assert self._bash.poll() is None, f"line {line}: the shell has ended\n{printed}"
            assert time.monotonic() < end, f"line {line}: not done in {_BLOCK_SECONDS} s\n{printed}"
            time.sleep(0.02)
        return self._printed(started), int(done.read_text())

    def _printed(self, start: int) -> str:
        return _COLOUR.sub("", self._output.read_bytes()[start:].decode(errors="replace"))


def is_as_expected(output: str, expected: str) -> bool:
    """Whether they are the same but for spaces, `...` standing for anything."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected.strip() + "\n", output.strip() + "\n", flags)


def _lives(bash: subprocess.Popen[bytes]) -> bool:
    """Whether anything of the shell's session is left."""
    bash.poll()
    try:
        os.killpg(bash.pid, 0)
    except ProcessLookupError:
        return False
    return True
