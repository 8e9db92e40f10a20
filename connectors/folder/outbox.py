"""A folder of mails: a file is named by the idempotency key, so a second delivery finds the first."""

import asyncio
import hashlib
import os
import re
from email import policy
from email.parser import BytesHeaderParser
from pathlib import Path

from connectors import eml
from connectors.delivery import DELIVERED, Result, Verdict
from connectors.folder.index import PREVIEWS, Entry, index_page, preview_page
from tessera.render.v1.message_pb2 import Message

_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")


class Outbox:
    """Carries messages into a folder, with pages to look at them."""

    def __init__(self, folder: Path, note: str = "") -> None:
        self._folder = folder
        self._note = note
        (folder / PREVIEWS).mkdir(parents=True, exist_ok=True)
        # What a killed process left behind was never acknowledged: it comes again.
        for leftover in folder.rglob("*.tmp"):
            leftover.unlink(missing_ok=True)
        self._entries = {path.stem: _entry(path) for path in folder.glob("*.eml")}
        self._stale = True

    async def deliver(self, message: Message) -> Result:
        """Write the mail; return once it is on the disk, or was before."""
        try:
            await asyncio.to_thread(self._write, message)
        except eml.Undeliverable as error:
            return Result(Verdict.REJECTED, str(error))
        except OSError as error:
            return Result(Verdict.RETRY, f"the folder can't be written: {error}")
        return DELIVERED

    async def rest(self) -> None:
        """Write the index anew, if something has come since."""
        if self._stale:
            await asyncio.to_thread(self._write_index)

    def _write(self, message: Message) -> None:
        key = message.idempotency_key
        # A name that could leave the folder is not used as one.
        name = key if _NAME.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()
        path = self._folder / f"{name}.eml"
        if not path.exists():
            mail = eml.mail_of(message)
            _replace(self._folder / PREVIEWS / f"{name}.html", preview_page(message).encode())
            _replace(path, mail)
            _keep(self._folder)
        if name not in self._entries:
            self._entries[name] = _entry(path)
            self._stale = True

    def _write_index(self) -> None:
        self._stale = False
        _replace(self._folder / "index.html", index_page(list(self._entries.values()), self._note).encode())


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _keep(folder: Path) -> None:
    """Let a folder's names survive a power cut: what was acknowledged does not come again."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _entry(path: Path) -> Entry:
    with path.open("rb") as file:
        mail = BytesHeaderParser(policy=policy.default).parse(file)
    return Entry(
        name=path.stem,
        time=mail["Date"].datetime if mail["Date"] else None,
        recipient=str(mail["To"] or ""),
        subject=str(mail["Subject"] or ""),
        campaign=str(mail["X-Tessera-Campaign"] or ""),
    )
