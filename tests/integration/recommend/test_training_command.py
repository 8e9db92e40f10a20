import asyncio
import os
import sys
from pathlib import Path

import orjson

from libs.database import open_database
from services.recommend import convert
from services.recommend.handlers import apply_updates
from services.recommend.repository import SqlPeople
from tests.integration.recommend.steps import ordered, step, viewed
from tests.unit.recommend.fakes import MemoryHistories

ROOT = Path(__file__).parents[3]
ADA = "00000000-0000-4000-8000-000000000001"


async def _run(url: str, *arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.recommend.training", *arguments,
        cwd=ROOT, env={**os.environ, "RECOMMEND_DATABASE_URL": url, "DATABASE_URL": "postgresql://nowhere/"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_command_trains_and_tells_what_came_of_it(recommend_url: str) -> None:
    steps = step(ADA, 1, viewed("lamp"), ordered("o1", "lamp", "desk"))
    async with open_database(recommend_url, "test") as database, database.begin() as connection:
        updates = [convert.update_of(steps.SerializeToString())]
        await apply_updates(SqlPeople(connection), MemoryHistories(), updates)
    first = await _run(recommend_url, "--json")
    second = await _run(recommend_url)

    assert 0 == first[0], first[2]
    assert {"version": 1, "interactions": 2, "profiles": 1, "products": 2, "metrics": {}}.items() <= (
        orjson.loads(first[1]).items()
    )
    assert second[1].startswith("model 2: 2 interactions of 1 people with 2 products")


async def test_a_serving_process_loads_nothing_of_training() -> None:
    code = (
        "import sys, services.recommend.app\nprint(sorted({'sklearn', 'scipy', 'onnx'} & sys.modules.keys()))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()

    assert "[]" == out.decode().strip()
