"""A trained model as one ONNX graph: everything from a person's touches to the best products.

Inputs: `history`, `weights` and `ages` (people × touches; ages in days before the person's latest
touch), `excluded` (people × products to leave out), `discovers` (whether what was bought is left
out) and `limit`. Rows are padded with the index N, one beyond the last product. Outputs, best first:
`products`, `scores` and `similarities`, the part of a score that the person's own touches make.
"""

import math
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from services.recommend.training.model.data import Array
from services.recommend.training.model.neighbours import PERSON_HALF_LIFE, Fitted

# What onnxruntime is sure to read.
_OPSET, _IR_VERSION = 18, 10

_NODES: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    # How much each touch says, adding up to 1 a person.
    ("Sqrt", "weights", "strengths", {}),
    ("Mul", "ages rate", "exponents", {}),
    ("Exp", "exponents", "decay", {}),
    ("Mul", "strengths decay", "decayed", {}),
    ("ReduceSum", "decayed last_axis", "sums", {"keepdims": 1}),
    ("Max", "sums tiny", "divisors", {}),
    ("Div", "decayed divisors", "shares", {}),
    # What goes with each touch, the touched product itself among it, summed up by product.
    ("Gather", "neighbours history", "near", {"axis": 0}),
    ("Gather", "neighbour_weights history", "near_weights", {"axis": 0}),
    ("Unsqueeze", "shares last_axis", "shares_of_each", {}),
    ("Mul", "near_weights shares_of_each", "parts", {}),
    ("Reshape", "near flat", "places", {}),
    ("Reshape", "parts flat", "flat_parts", {}),
    ("Shape", "history", "people", {"start": 0, "end": 1}),
    ("Concat", "people width", "size", {"axis": 0}),
    ("Expand", "zero size", "nothing", {}),
    ("ScatterElements", "nothing places flat_parts", "similar", {"axis": 1, "reduction": "add"}),
    # Buying again and discovering blend differently with what is popular.
    ("Where", "discovers discovery_share popular_share", "share", {}),
    ("Mul", "popularity share", "popular", {}),
    ("Add", "similar popular", "blended", {}),
    ("Shape", "excluded", "excluded_size", {}),
    ("Expand", "left_out excluded_size", "left_out_of_each", {}),
    ("ScatterElements", "blended excluded left_out_of_each", "final", {"axis": 1}),
    ("TopK", "final limit", "scores products", {"axis": 1}),
    ("GatherElements", "similar products", "similarities", {"axis": 1}),
)


def export(model: Fitted) -> bytes:
    """The graph of a model."""
    nodes = [
        helper.make_node(kind, inputs.split(), outputs.split(), **attributes)
        for kind, inputs, outputs, attributes in _NODES
    ]
    table = ["people", "touches"]
    inputs = [
        helper.make_tensor_value_info("history", TensorProto.INT64, table),
        helper.make_tensor_value_info("weights", TensorProto.FLOAT, table),
        helper.make_tensor_value_info("ages", TensorProto.FLOAT, table),
        helper.make_tensor_value_info("excluded", TensorProto.INT64, ["people", "left_out"]),
        helper.make_tensor_value_info("discovers", TensorProto.BOOL, [1]),
        helper.make_tensor_value_info("limit", TensorProto.INT64, [1]),
    ]
    answers = ["people", "best"]
    outputs = [
        helper.make_tensor_value_info("products", TensorProto.INT64, answers),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, answers),
        helper.make_tensor_value_info("similarities", TensorProto.FLOAT, answers),
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in _constants(model).items()]
    graph = helper.make_graph(nodes, "recommend", inputs, outputs, constants)
    exported = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    checker.check_model(exported)
    return bytes(exported.SerializeToString())


def _constants(model: Fitted) -> dict[str, Array]:
    count, width = model.neighbours.shape
    # The last row is the padding's: it adds nothing to anything. The last column is the product itself.
    neighbours = np.full((count + 1, width + 1), count, np.int64)
    neighbours[:count, :width] = model.neighbours
    neighbours[:count, width] = np.arange(count)
    weights = np.zeros((count + 1, width + 1), np.float32)
    weights[:count, :width] = model.similarities
    weights[:count, width] = model.blend.own
    left_out = np.float32(-np.inf)
    return {
        "neighbours": neighbours,
        "neighbour_weights": weights,
        "popularity": np.append(model.popularity, left_out).astype(np.float32),
        "rate": np.array(-math.log(2) / PERSON_HALF_LIFE, np.float32),
        "last_axis": np.array([-1], np.int64),
        "tiny": np.array(1e-30, np.float32),
        "flat": np.array([0, -1], np.int64),
        "width": np.array([count + 1], np.int64),
        "zero": np.zeros(1, np.float32),
        "discovery_share": np.array(model.blend.discovery, np.float32),
        "popular_share": np.array(model.blend.popularity, np.float32),
        "left_out": np.array([left_out]),
    }
