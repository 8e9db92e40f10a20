"""Writes messages into a folder: python -m connectors.folder --address host:port --folder ./outbox."""

import asyncio
from pathlib import Path

from connectors import delivery
from connectors.delivery import Connector
from connectors.folder.outbox import Outbox
from connectors.settings import configure_logs, options_of, parser_of, secret_in, trust_of


def main() -> None:
    """Run from the command line."""
    parser = parser_of("Writes messages as .eml files, with an index.html to look at.", "folder")
    parser.add_argument("--folder", type=Path, default=Path("outbox"), help="where the files go")
    parser.add_argument("--note", default="", help="a sentence above the list of mails")
    arguments = parser.parse_args()
    configure_logs()

    async def work(stopping: asyncio.Event) -> None:
        key = secret_in(arguments.api_key_file)
        tls = trust_of(arguments)
        async with delivery.open_channel(arguments.address, key, *tls) as channel:
            outbox = Outbox(arguments.folder, arguments.note)
            await Connector(channel, outbox, options_of(arguments)).run(stopping)

    delivery.run(work)


if __name__ == "__main__":
    main()
