"""Stops what a killed `tessera up` left behind: its PostgreSQL, which does not die with it."""

import signal
from pathlib import Path

import psutil

_STOP_SECONDS = 20.0


def stop_leftover(folder: Path) -> bool:
    """Stop a server over this folder that outlived a killed `tessera up`; tell whether there was one."""
    data = folder.resolve() / "data"
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
        if str(data) not in process.cmdline():
            return False  # somebody else has got the number since
    except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
        return False
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_SECONDS)
    except psutil.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait(_STOP_SECONDS)
    return True
