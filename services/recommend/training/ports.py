"""What training needs from outside."""

from collections.abc import AsyncIterator
from typing import Protocol

from services.recommend.interactions.model import Interest
from services.recommend.registry.model import ModelInfo, Trained
from services.recommend.training.model.neighbours import Fitted


class Interactions(Protocol):
    """What people did."""

    def all(self) -> AsyncIterator[tuple[object, str, Interest]]:
        """Every person's interests that count, as they are at one moment: person, product, interest."""


class Catalog(Protocol):
    """The products that the shop's servers have named."""

    async def ids(self) -> set[str]:
        """Of all of them."""


class Models(Protocol):
    """The models that are kept."""

    async def add(self, trained: Trained) -> ModelInfo:
        """Keep a model as the next version, and drop what is too old."""


class Export(Protocol):
    """Writes a model as the graph that ranking runs."""

    def __call__(self, model: Fitted) -> bytes:
        """In ONNX."""


class Progress(Protocol):
    """Who wants to know how far it is."""

    async def advance(self, done: int, total: int, detail: str) -> None:
        """Tell how far it is; raises where the training is to end."""
