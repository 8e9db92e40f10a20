"""Trains once and stores the model: python -m services.recommend.training [--json].

Exit codes: 0 trained, 1 failed, 2 nothing to learn from or wrong settings, 3 cancelled.
"""

import argparse
import asyncio
import sys
from typing import Final, Literal

import orjson
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings

from libs.database import open_database
from libs.errors import FailedPrecondition
from libs.observability import configure_logs
from libs.operations.sql import SqlOperations
from libs.operations.use_cases import Operations
from services.recommend.catalog.sql import SqlProducts
from services.recommend.interactions.sql import SqlInteractions
from services.recommend.registry.sql import SqlModels
from services.recommend.training.jobs import Summary, TrainingJob
from services.recommend.training.use_cases import Training
from services.recommend.training.wire import export

_WRONG: Final = 2
_CANCELLED: Final = 3


class Settings(BaseSettings):
    """Where recommend's database is, and how to log: all that training is told."""

    database_url: str = Field(validation_alias=AliasChoices("RECOMMEND_DATABASE_URL", "DATABASE_URL"))
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def main() -> int:
    """Train, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m services.recommend.training", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    as_json = parser.parse_args().json
    try:
        settings = Settings()  # type: ignore[call-arg]  # from the environment
        configure_logs("recommend", settings.log_format, settings.log_level)
        summary = asyncio.run(_train(settings.database_url))
    except (ValidationError, FailedPrecondition) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's word to its user
        return _WRONG
    if summary is None:
        print("the training was cancelled: the last model goes on serving", file=sys.stderr)  # noqa: T201
        return _CANCELLED
    print(_json(summary) if as_json else _text(summary))  # noqa: T201
    return 0


async def _train(database_url: str) -> Summary | None:
    # One connection reads everything while another keeps the operation's account.
    async with open_database(database_url, "recommend training", pool_size=2) as database:
        training = Training(SqlInteractions(database), SqlProducts(database), SqlModels(database), export)
        operations = Operations(SqlOperations(database, "recommend"))
        return await TrainingJob(training, operations).run()


def _json(summary: Summary) -> str:
    return orjson.dumps(
        {"operation_id": summary.operation_id, **_told(summary)}, option=orjson.OPT_INDENT_2
    ).decode()


def _told(summary: Summary) -> dict[str, object]:
    model = summary.model
    return {
        "version": model.version,
        "create_time": model.create_time,
        "interactions": model.interactions,
        "profiles": model.profiles,
        "products": model.products,
        "metrics": dict(model.metrics),
        "bytes": summary.bytes,
    }


def _text(summary: Summary) -> str:
    model = summary.model
    learnt = f"{model.interactions:,} interactions of {model.profiles:,} people"
    lines = [f"model {model.version}: {learnt} with {model.products:,} products, {summary.bytes:,} bytes"]
    lines += [f"  {name:28} {value:g}" for name, value in model.metrics.items()]
    if not model.metrics:
        lines.append("  too few people came back to judge it")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
