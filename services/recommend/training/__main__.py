"""Trains once and stores the model: python -m services.recommend.training [--json]."""

import argparse
import asyncio
import sys

import orjson
from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings

from libs.database import open_database
from libs.errors import FailedPrecondition
from services.recommend.training.job import Summary, train


class Settings(BaseSettings):
    """Where recommend's database is: all that training is told."""

    database_url: str = Field(validation_alias=AliasChoices("RECOMMEND_DATABASE_URL", "DATABASE_URL"))


def main() -> int:
    """Train, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m services.recommend.training", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    as_json = parser.parse_args().json
    try:
        summary = asyncio.run(_train(Settings().database_url))  # type: ignore[call-arg]  # from the environment
    except (ValidationError, FailedPrecondition) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's word to its user
        return 2
    text = orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode() if as_json else _text(summary)
    print(text)  # noqa: T201
    return 0


async def _train(database_url: str) -> Summary:
    async with open_database(database_url, "recommend training", pool_size=1) as database:
        return await train(database)


def _text(summary: Summary) -> str:
    learnt = f"{summary.interactions:,} interactions of {summary.profiles:,} people"
    lines = [f"model {summary.version}: {learnt} with {summary.products:,} products, {summary.bytes:,} bytes"]
    lines += [f"  {name:28} {value:g}" for name, value in summary.metrics.items()]
    if not summary.metrics:
        lines.append("  too few people came back to judge it")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
