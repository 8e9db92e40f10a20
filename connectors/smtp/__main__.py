"""Sends messages by SMTP: python -m connectors.smtp --address host:port --smtp-host mail.example.com."""

import asyncio
from pathlib import Path

from connectors import delivery
from connectors.delivery import Connector
from connectors.settings import configure_logs, options_of, parser_of, secret_in, trust_of
from connectors.smtp.mailer import Mailer, Server


def main() -> None:
    """Run from the command line."""
    parser = parser_of("Sends messages by SMTP.", "smtp")
    parser.add_argument("--smtp-host", default="127.0.0.1", help="the mail server")
    parser.add_argument("--smtp-port", type=int, default=25, help="its port")
    parser.add_argument("--smtp-security", choices=("none", "starttls", "tls"), default="starttls")
    parser.add_argument("--smtp-ca-file", type=Path, help="the authority to trust (PEM); else the system's")
    parser.add_argument("--smtp-user", default="", help="log in as; without it nobody logs in")
    parser.add_argument("--smtp-password-file", type=Path, help="holds the password")
    parser.add_argument("--bounce-address", default="", help="the envelope's sender; else the From address")
    parser.add_argument("--connections", type=int, default=4, help="mails that are sent at once")
    arguments = parser.parse_args()
    configure_logs()
    server = Server(
        host=arguments.smtp_host,
        port=arguments.smtp_port,
        security=arguments.smtp_security,
        ca_file=arguments.smtp_ca_file,
        user=arguments.smtp_user,
        password=secret_in(arguments.smtp_password_file),
    )

    async def work(stopping: asyncio.Event) -> None:
        key = secret_in(arguments.api_key_file)
        tls = trust_of(arguments)
        async with (
            delivery.open_channel(arguments.address, key, *tls) as channel,
            Mailer(server, arguments.bounce_address) as mailer,
        ):
            await Connector(channel, mailer, options_of(arguments, arguments.connections)).run(stopping)

    delivery.run(work)


if __name__ == "__main__":
    main()
