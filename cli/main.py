"""The `tessera` command."""

import inspect
import logging
import sys
from importlib import metadata
from typing import Annotated

import structlog
import typer
from rich.markup import escape

from cli.commands import (
    apply,
    dead_letters,
    demo,
    imports,
    keys,
    library,
    messages,
    operations,
    previews,
    profiles,
    segments,
    sources,
    status,
    training,
    up,
)
from cli.terminal import err, out
from libs.errors import TesseraError


def _version(asked: bool) -> None:
    if asked:
        out.print(f"tessera {metadata.version('tessera')}")
        raise typer.Exit


app = typer.Typer(
    name="tessera",
    help="Turns raw customer events into personalized messages.\n\n"
    "Start with [bold]tessera demo[/bold] to see everything at work, "
    "or with [bold]tessera up[/bold] to keep it running.\n\n"
    "Commands call what runs in --home. With TESSERA_API_KEY in the environment they call the services at "
    "INGEST_ADDRESS, PROFILE_ADDRESS, SEGMENT_ADDRESS, RECOMMEND_ADDRESS and RENDER_ADDRESS instead, as far "
    "as those are set; TLS_CA_FILE makes it TLS.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _tessera(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    pass


app.command("up")(up.up)
app.command("demo")(demo.demo)
app.command("status")(status.status)
app.command("apply")(apply.apply_folder)
app.command("import")(imports.import_file)
app.command("preview")(previews.preview)
app.command("send-test")(previews.send_test)
app.command("train")(training.train)
app.command("rejected")(sources.rejected)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(sources.app, name="sources")
app.add_typer(keys.app, name="keys")
app.add_typer(profiles.app, name="profile")
app.add_typer(segments.segments_app, name="segments")
app.add_typer(segments.triggers_app, name="triggers")
app.add_typer(library.templates_app, name="templates")
app.add_typer(library.campaigns_app, name="campaigns")
app.add_typer(messages.app, name="messages")
app.add_typer(operations.app, name="operations")


def _in_paragraphs(group: typer.Typer) -> None:
    """Let help texts be broken where the terminal ends, not where the source's lines do."""
    for command in group.registered_commands:
        assert command.callback is not None
        text = command.help or inspect.getdoc(command.callback) or ""
        paragraphs = text.split("\n\n")
        command.help = "\n\n".join(p if p.startswith(" ") else " ".join(p.split("\n")) for p in paragraphs)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _in_paragraphs(inner.typer_instance)


_in_paragraphs(app)


def main() -> None:
    """Run the command line; what can be expected to fail is told in a sentence."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        app()
    except TesseraError as error:
        err.print(f"[bold red]error:[/bold red] {escape(error.message)}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
