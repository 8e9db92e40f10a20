"""Sends mails by SMTP, over connections that are kept while there is something to send.

SMTP knows no idempotency: a connection that breaks between the mail and the server's answer leaves
it open whether the mail was taken. It is sent again then, with the same Message-ID.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import aiosmtplib

from connectors import eml
from connectors.delivery import DELIVERED, Result, Verdict
from connectors.mailboxes import mailbox_of
from tessera.render.v1.message_pb2 import Message

_SECONDS = 30.0
# What a server says of this one mail; what it says of us (greeting, login) is not the mail's fault.
_OF_THE_MAIL = (
    aiosmtplib.SMTPSenderRefused,
    aiosmtplib.SMTPRecipientRefused,
    aiosmtplib.SMTPDataError,
)


@dataclass(frozen=True, slots=True)
class Server:
    """A mail server and how to speak with it."""

    host: str
    port: int
    security: Literal["none", "starttls", "tls"] = "starttls"
    ca_file: Path | None = None
    user: str = ""
    password: str = ""


class Mailer:
    """Carries messages to a mail server; a context manager that says goodbye."""

    def __init__(self, server: Server, bounce_address: str = "") -> None:
        self._server = server
        self._bounce_address = bounce_address
        self._idle: list[aiosmtplib.SMTP] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.rest()

    async def deliver(self, message: Message) -> Result:
        """Send one mail: refused for now is tried again, refused for good is given up."""
        try:
            mail = eml.mail_of(message)
        except eml.Undeliverable as error:
            return Result(Verdict.REJECTED, str(error))
        sender = self._bounce_address or mailbox_of(message.sender).spec
        try:
            await self._send(sender, mailbox_of(message.to).spec, mail)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            return _verdict(refused.recipients[0])
        except aiosmtplib.SMTPResponseException as error:
            return _verdict(error)
        except (aiosmtplib.SMTPException, OSError) as error:
            return Result(Verdict.RETRY, f"{type(error).__name__}: {error}")
        return DELIVERED

    async def rest(self) -> None:
        """Close the connections: servers end idle ones anyway."""
        while self._idle:
            self._idle.pop().close()

    async def _send(self, sender: str, recipient: str, mail: bytes) -> None:
        client = self._idle.pop() if self._idle else await self._connect()
        kept = False
        try:
            await client.sendmail(sender, [recipient], mail)
            kept = True
        except (aiosmtplib.SMTPRecipientsRefused, *_OF_THE_MAIL):
            kept = client.is_connected
            raise
        finally:
            if kept:
                self._idle.append(client)
            else:
                client.close()

    async def _connect(self) -> aiosmtplib.SMTP:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=None if server.security == "none" else _trust(server.ca_file),
            username=server.user or None,
            password=server.password if server.user else None,
            timeout=_SECONDS,
        )
        await client.connect()
        return client


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


def _verdict(error: aiosmtplib.SMTPResponseException) -> Result:
    permanent = isinstance(error, _OF_THE_MAIL) and 500 <= error.code < 600
    return Result(Verdict.REJECTED if permanent else Verdict.RETRY, f"{error.code} {error.message}")
