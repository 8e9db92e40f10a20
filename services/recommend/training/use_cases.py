"""Learns from what people did, and keeps the model."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libs.errors import FailedPrecondition
from services.recommend.interactions.model import Interest
from services.recommend.registry.model import ModelInfo, Trained
from services.recommend.training.model.data import Touches, gather
from services.recommend.training.model.evaluation import TRIALS, best_blend, evaluate, window_of
from services.recommend.training.model.neighbours import fit
from services.recommend.training.ports import Catalog, Export, Interactions, Models, Progress

Entry = tuple[object, str, Interest]

# What is done, as steps: reading, trials for the judged model and for the one that is kept, fitting, storing.
_READ: Final = 1
_JUDGED: Final = _READ + TRIALS + 1
_CHOSEN: Final = _JUDGED + TRIALS
STEPS: Final = _CHOSEN + 2


@dataclass(slots=True)
class _Steps:
    """How far the thread that learns is; told to the loop that it was started from."""

    progress: Progress
    loop: asyncio.AbstractEventLoop
    done: int = 0

    def at(self, done: int, detail: str) -> None:
        """Tell that a step begins, when so many are done; raises where the training is to end."""
        self.done = done
        told = asyncio.run_coroutine_threadsafe(self.progress.advance(done, STEPS, detail), self.loop)
        told.result()

    def trials(self, detail: str) -> Callable[[], None]:
        """Tells of each trial."""
        return lambda: self.at(self.done + 1, detail)


class Training:
    """Trains on everything that happened so far."""

    def __init__(self, interactions: Interactions, catalog: Catalog, models: Models, export: Export) -> None:
        self._interactions = interactions
        self._catalog = catalog
        self._models = models
        self._export = export

    async def run(self, progress: Progress) -> tuple[ModelInfo, int]:
        """Train, and keep the model as the next version: returns it, and the size of its graph in bytes.

        Products that no server has named are left out, since nobody would be shown them.
        FailedPrecondition where there is nothing to learn from.
        """
        await progress.advance(0, STEPS, "reading what people did")
        listed = await self._catalog.ids()
        interests = [entry async for entry in self._interactions.all() if entry[1] in listed]
        steps = _Steps(progress, asyncio.get_running_loop())
        trained = await asyncio.to_thread(self._learn, interests, steps)
        return await self._models.add(trained), len(trained.graph)

    def _learn(self, interests: list[Entry], steps: _Steps) -> Trained:
        touches = gather(interests)
        if not len(touches.days):
            raise FailedPrecondition(
                "nobody has touched a product that a server source has named: there is nothing to learn from"
            )
        end = _just_after(touches)
        window = window_of(touches)
        steps.at(_READ, "judging on what came last")
        report = evaluate(touches, end - window, end, window, steps.trials("judging on what came last"))
        steps.at(_JUDGED, "choosing how to blend")
        blend = best_blend(touches, end, window, steps.trials("choosing how to blend"))
        steps.at(_CHOSEN, "training on everything")
        graph = self._export(fit(touches, end, blend))
        steps.at(STEPS - 1, "storing the model")
        return Trained(
            interactions=len(interests),
            profiles=touches.profiles,
            products=len(touches.product_ids),
            metrics=report.metrics if report else {},
            graph=graph,
            product_ids=touches.product_ids,
        )


def _just_after(touches: Touches) -> float:
    return float(touches.days.max()) + 1e-9
