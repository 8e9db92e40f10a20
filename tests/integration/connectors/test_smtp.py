"""The SMTP connector against a small server that really speaks SMTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email import policy
from email.parser import BytesParser

import pytest

from connectors import delivery
from connectors.delivery import Connector, Options, Verdict
from connectors.smtp.mailer import Mailer, Server
from tests.integration.connectors.fake_render import FakeRender, message, serving


@dataclass
class MailServer:
    """Takes mail; answers a command with what the test wants instead."""

    answers: dict[str, str] = field(default_factory=dict)
    mails: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    port: int = 0

    talks: set[asyncio.Task[None]] = field(default_factory=set)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com\r\n")
        while line := (await reader.readline()).decode().strip():
            self.commands.append(line)
            word = line.split()[0].upper()
            answer = self.answers.get(word, "354 go on" if word == "DATA" else "250 fine")
            writer.write(f"{answer}\r\n".encode())
            if word == "DATA" and answer.startswith("354"):
                mail = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append(mail)
                writer.write(self.answers.get("MAIL BODY", "250 taken").encode() + b"\r\n")
            if word == "QUIT" or answer.startswith("421"):
                break

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.talks.add(task)
        with suppress(ConnectionError):
            await self.talk(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield
        await asyncio.gather(*self.talks)


async def test_messages_are_sent_and_acknowledged() -> None:
    mail_server = MailServer()
    render = FakeRender(*(message(f"key-{n}") for n in range(5)))
    async with (
        mail_server.running(),
        serving(render) as address,
        delivery.open_channel(address, "") as channel,
        Mailer(Server("127.0.0.1", mail_server.port, "none"), "bounces@shop.example.com") as mailer,
    ):
        options = Options("smtp", concurrency=2, idle_seconds=0.5)
        await asyncio.wait_for(Connector(channel, mailer, options).run(asyncio.Event()), 20)

    sent = [BytesParser(policy=policy.default).parsebytes(mail) for mail in mail_server.mails]
    assert {f"<key-{n}@shop.example.com>" for n in range(5)} == {mail["Message-ID"] for mail in sent}
    assert {f"key-{n}" for n in range(5)} == set(render.acknowledged)
    assert 5 == sum(line.startswith("MAIL FROM:<bounces@shop.example.com>") for line in mail_server.commands)


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ({"RCPT": "550 5.1.1 nobody here"}, Verdict.REJECTED),
        ({"RCPT": "452 4.2.2 mailbox full"}, Verdict.RETRY),
        ({"MAIL": "553 5.7.1 not your address"}, Verdict.REJECTED),
        ({"MAIL BODY": "554 5.6.0 spam"}, Verdict.REJECTED),
        ({"MAIL BODY": "451 4.3.0 later"}, Verdict.RETRY),
        ({"EHLO": "421 4.3.2 shutting down"}, Verdict.RETRY),
        ({"EHLO": "554 5.7.1 we do not like you", "HELO": "554 no"}, Verdict.RETRY),
    ],
)
async def test_what_the_server_says_of_the_mail_decides(answers: dict[str, str], verdict: Verdict) -> None:
    mail_server = MailServer(answers)
    async with mail_server.running(), Mailer(Server("127.0.0.1", mail_server.port, "none")) as mailer:
        result = await mailer.deliver(message())

    assert verdict is result.verdict
    assert result.reason


async def test_a_server_that_is_not_there_is_tried_again() -> None:
    mail_server = MailServer()
    async with mail_server.running():
        pass
    async with Mailer(Server("127.0.0.1", mail_server.port, "none")) as mailer:
        result = await mailer.deliver(message())

    assert Verdict.RETRY is result.verdict


async def test_a_server_without_starttls_gets_no_mail_where_it_is_wanted() -> None:
    mail_server = MailServer()
    async with mail_server.running(), Mailer(Server("127.0.0.1", mail_server.port, "starttls")) as mailer:
        result = await mailer.deliver(message())

    assert (Verdict.RETRY, []) == (result.verdict, mail_server.mails)


async def test_a_rejection_tells_render_whether_to_try_again() -> None:
    mail_server = MailServer({"RCPT": "550 nobody here"})
    render = FakeRender(message("key-1"), message("key-2", to="two@example.com, three@example.com"))
    async with (
        mail_server.running(),
        serving(render) as address,
        delivery.open_channel(address, "") as channel,
        Mailer(Server("127.0.0.1", mail_server.port, "none")) as mailer,
    ):
        options = Options("smtp", idle_seconds=0.5)
        await asyncio.wait_for(Connector(channel, mailer, options).run(asyncio.Event()), 20)

    assert [
        ("key-1", False, "550 nobody here"),
        ("key-2", False, "the recipient is not one address in ASCII"),
    ] == render.rejections


async def test_a_local_part_that_must_be_quoted_is_quoted_in_the_envelope_too() -> None:
    mail_server = MailServer()
    render = FakeRender(message(to="sora..88@docomo.example", sender='"Shop: News" <news.@shop.example>'))
    async with (
        mail_server.running(),
        serving(render) as address,
        delivery.open_channel(address, "") as channel,
        Mailer(Server("127.0.0.1", mail_server.port, "none")) as mailer,
    ):
        options = Options("smtp", idle_seconds=0.5)
        await asyncio.wait_for(Connector(channel, mailer, options).run(asyncio.Event()), 20)

    envelope = [command.split()[:2] for command in mail_server.commands if ":<" in command]
    assert [["MAIL", 'FROM:<"news."@shop.example>'], ["RCPT", 'TO:<"sora..88"@docomo.example>']] == envelope
    assert ["key-1"] == render.acknowledged
