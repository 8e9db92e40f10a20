"""The `tessera` command."""

import logging
import sys

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
    previews,
    profiles,
    sources,
    status,
    training,
    up,
)
from cli.terminal import err
from libs.errors import TesseraError

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
app.add_typer(profiles.profile_app, name="profile")
app.add_typer(profiles.segments_app, name="segments")
app.add_typer(library.templates_app, name="templates")
app.add_typer(library.campaigns_app, name="campaigns")
app.add_typer(messages.app, name="messages")


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
