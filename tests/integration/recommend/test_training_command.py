import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from libs.database import Database, open_database
from libs.operations.model import Operation, State
from libs.operations.ports import Filter
from libs.operations.sql import SqlOperations
from libs.operations.use_cases import Operations
from services.recommend.training.jobs import KIND
from services.recommend.training.use_cases import STEPS
from tests.integration.recommend.steps import apply, ordered, step, viewed

ROOT = Path(__file__).parents[3]
ADA = "00000000-0000-4000-8000-000000000001"


WAITS = (
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)
ASKED = "select count(*) from recommend.operations where cancel_requested"


async def until(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the answer is something."""
    async with asyncio.timeout(60):
        while True:
            if found := await ask():
                return found
            await asyncio.sleep(0.02)


async def _start(url: str, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.recommend.training", *arguments,
        cwd=ROOT,
        env={
            **os.environ,
            "RECOMMEND_DATABASE_URL": url,
            "DATABASE_URL": "postgresql://nowhere/",
            "LOG_FORMAT": "json",
        },
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def _run(url: str, *arguments: str) -> tuple[int | None, str, str]:
    process = await _start(url, *arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_command_trains_and_tells_what_came_of_it(recommend_url: str) -> None:
    steps = step(ADA, 1, viewed("lamp"), ordered("o1", "lamp", "desk"))
    async with open_database(recommend_url, "test") as database:
        await apply(database, steps)
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


@asynccontextmanager
async def _held(database: Database) -> AsyncIterator[None]:
    """Nobody reads interactions meanwhile, however long it takes: so a training stays at work."""
    async with database.begin() as connection:
        await connection.execute("set local idle_in_transaction_session_timeout = 0")
        await connection.execute("lock table recommend.interactions in access exclusive mode")
        yield


async def _operation(url: str) -> Operation:
    """The training as the service shows it."""
    async with open_database(url, "test") as database:
        operations = Operations(SqlOperations(database, "recommend"))
        (operation,) = await operations.page(Filter(kind=KIND), 1 << 62, 10)
        return operation


async def test_a_training_is_an_operation_that_tells_how_far_it_is(recommend_url: str) -> None:
    async with open_database(recommend_url, "test") as database:
        await apply(database, step(ADA, 1, viewed("lamp")))
    code, out, err = await _run(recommend_url, "--json")
    told = [orjson.loads(line) for line in err.splitlines() if "training goes on" in line]
    operation = await _operation(recommend_url)

    assert 0 == code, err
    assert (State.SUCCEEDED, STEPS - 1, STEPS) == (operation.state, operation.done, operation.total)
    assert 1 == orjson.loads(operation.result)["version"]
    assert orjson.loads(out)["operation_id"] == operation.operation_id
    assert [0, 1] == [line["done"] for line in told][:2]
    assert "storing the model" == told[-1]["detail"]


async def test_a_training_that_is_cancelled_keeps_no_model(recommend_url: str) -> None:
    async with open_database(recommend_url, "test") as database:
        await apply(database, step(ADA, 1, viewed("lamp")))
        async with _held(database):
            running = asyncio.create_task(_run(recommend_url))
            operations = Operations(SqlOperations(database, "recommend"))
            (operation,) = await until(lambda: operations.page(Filter(), 1 << 62, 1))
            await operations.cancel(operation.operation_id)
        code, _, err = await running
        models = await database.pool.fetchval("select count(*) from recommend.models")

    assert (3, 0) == (code, models), err
    assert State.CANCELLED is (await _operation(recommend_url)).state
    assert "the training was cancelled: the last model goes on serving" == err.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_training_that_is_told_to_end_keeps_its_account(
    recommend_url: str, number: signal.Signals
) -> None:
    async with open_database(recommend_url, "test") as database:
        await apply(database, step(ADA, 1, viewed("lamp")))
        async with _held(database):
            process = await _start(recommend_url)
            # Once it waits for the table it listens to signals as well.
            await until(lambda: database.pool.fetchval(WAITS))
            process.send_signal(number)
            await until(lambda: database.pool.fetchval(ASKED))
        await process.communicate()

    assert 3 == process.returncode
    assert State.CANCELLED is (await _operation(recommend_url)).state


async def test_a_training_of_nothing_fails_and_says_why(recommend_url: str) -> None:
    code, _, err = await _run(recommend_url)
    operation = await _operation(recommend_url)

    assert 2 == code
    assert "nothing to learn from" in err.splitlines()[-1]
    assert State.FAILED is operation.state
    assert "nothing to learn from" in operation.detail
