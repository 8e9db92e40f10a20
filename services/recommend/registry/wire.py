"""Between the contract and the models."""

from libs.times import timestamp
from services.recommend.registry.model import ModelInfo
from tessera.recommend.v1 import model_pb2


def model_pb(model: ModelInfo) -> model_pb2.Model:
    """To the contract."""
    return model_pb2.Model(
        version=model.version,
        create_time=timestamp(model.create_time),
        interactions=model.interactions,
        profiles=model.profiles,
        products=model.products,
        metrics=dict(model.metrics),
    )
