"""What segment keeps of people: read, brought to one time, and lost."""

from collections.abc import Iterable, Sequence

from services.segment.membership.model import State
from services.segment.membership.sql import Cache, SqlStates
from tests.integration.pipeline.harness import PARTITIONS, Pipeline


async def states_of(pipeline: Pipeline, ids: Sequence[str]) -> dict[str, State]:
    """The states as they are stored."""
    async with pipeline.database.begin() as connection:
        found = await SqlStates(connection, Cache(), PARTITIONS).load(ids)
    return {id_: state for id_, state in found.states.items() if state.revision}


async def timers_of(pipeline: Pipeline, ids: Sequence[str]) -> dict[str, int]:
    """When time alone may next change something for each."""
    query = "select profile_id::text, due from segment.timers where profile_id = any($1::uuid[])"
    return {row[0]: row[1] for row in await pipeline.database.pool.fetch(query, ids)}


async def let_time_pass(pipeline: Pipeline, states: Iterable[State], now: int) -> None:
    """Bring copies of states to one time, so that they can be compared."""
    plan = await pipeline.plans.load()
    for state in states:
        plan.advance(state, now, now)


async def lose(pipeline: Pipeline, ids: Sequence[str]) -> None:
    """Drop all that is kept of some people, in the tables and in memory."""
    async with pipeline.database.begin() as connection:
        for table in ("states", "parts", "timers", "memberships"):
            query = f"delete from segment.{table} where profile_id = any($1::uuid[])"
            await connection.execute(query, ids)
    for handler in pipeline.handlers:
        handler.forget()
