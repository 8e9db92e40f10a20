"""Trained models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

KEPT_MODELS: Final = 20

INPUTS: Final = frozenset({"history", "weights", "ages", "excluded", "discovers", "limit"})
OUTPUTS: Final = ("products", "scores", "similarities")
"""What goes into a model's graph and what comes out of it: training writes such graphs, ranking runs them."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model was trained on, and how good it is."""

    version: int
    create_time: int
    """When training ended, in microseconds since 1970."""
    interactions: int
    profiles: int
    products: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What a replica needs to serve a model."""

    version: int
    graph: bytes
    """In ONNX."""
    product_ids: Sequence[str]
    """The products by their index in the graph."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model before it has a version."""

    interactions: int
    profiles: int
    products: int
    metrics: Mapping[str, float]
    graph: bytes
    product_ids: Sequence[str]
