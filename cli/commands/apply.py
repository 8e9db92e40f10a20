"""`tessera apply`: definitions from files."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from cli.applying import Applied, apply
from cli.clients import connect
from cli.definitions import load
from cli.terminal import DEFAULT_HOME, HomeOption, JsonOption, out, print_json, run, table, warn

_STYLES = {"created": "green", "changed": "yellow", "unchanged": "dim"}


def apply_folder(
    folder: Annotated[Path, typer.Argument(help="The folder with the files.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Bring the segments, triggers, templates and campaigns of a folder into force.

    The folder holds segments.toml, triggers.toml, campaigns.toml and templates/<id>/*.liquid, as
    examples/shop does; what is missing is left alone, and nothing is deleted. The same again changes
    nothing.

    [bold]Example[/bold]

      tessera apply examples/shop
    """
    definitions = load(folder)

    async def put() -> list[Applied]:
        async with connect(home) as clients:
            return [applied async for applied in apply(clients, definitions)]

    applied = run(put())
    if as_json:
        print_json([one._asdict() for one in applied])
        return
    shown = table("kind", "id", "", "version", right=frozenset({"version"}))
    for one in applied:
        style = _STYLES[one.change]
        shown.add_row(one.kind, one.definition_id, f"[{style}]{one.change}[/{style}]", str(one.version or ""))
    out.print(shown)
    for one in applied:
        for text in one.warnings:
            warn(f"{one.kind} {one.definition_id}, {text}")
    counts = Counter(one.change for one in applied)
    out.print("\n" + ", ".join(f"{count} {change}" for change, count in counts.items()))
