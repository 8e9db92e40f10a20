"""What Tessera promises, whatever is killed, stopped, cut off or filled up while it is under load."""

import logging
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from tests.faults import plans, table
from tests.faults.disk import small_disk
from tests.faults.plans import Plan
from tests.faults.production import Production
from tests.faults.run import run
from tests.faults.system import System

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    # The clients' libraries report every attempt to reach what a test has taken away.
    logger, level = logging.getLogger("aiokafka"), logging.getLogger("aiokafka").level
    logger.setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.reset_defaults()
    logger.setLevel(level)


@pytest.mark.parametrize("plan", plans.chosen(), ids=lambda plan: plan.id)
async def test_nothing_acknowledged_is_lost_and_every_effect_happens_once(plan: Plan, tmp_path: Path) -> None:
    seed = int(os.environ.get("TESSERA_SEED", random.SystemRandom().randrange(1_000_000)))
    print(f"TESSERA_SEED={seed}")
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(tmp_path / "disk")) if plan.small_disk else None
        system = Production(tmp_path, disk) if plan.production else System(tmp_path)
        try:
            await system.start()
            report = await run(system, plan.faults, plan.times, seed)
        finally:
            await system.stop()
    print(report.told())
    if plan in plans.LONG:
        table.keep(report)

    assert {} == report.failures
    assert plan.times * len(plan.faults) == len(report.hits)
    assert report.failed_calls + report.repeats > 0, "clients sent again what was not answered"
