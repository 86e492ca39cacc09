"""Writes transformers as ONNX graphs with random weights: the shape of a known model without its file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_OPSET = 17  # the first with LayerNormalization as one node
_IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a transformer is."""

    width: int
    layers: int
    heads: int
    inner: int


@dataclass
class Graph:
    """A graph in the making; every method adds nodes and returns the name of their result."""

    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Seeds the weights."""
        self._rng = np.random.default_rng(self.seed)

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Adds one node. Any: whatever attributes the operator has."""
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def constant(self, values: NDArray[Any] | np.float32) -> str:
        """Adds an initializer."""
        name = f"w_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def integers(self, *values: int) -> str:
        """Adds (n,) int64."""
        return self.constant(np.array(values, np.int64))

    def normal(self, *shape: int, scale: float = 0.02) -> str:
        """Adds random weights, as BERT initializes its own."""
        return self.constant((scale * self._rng.standard_normal(shape)).astype(np.float32))

    def linear(self, source: str, rows: int, columns: int) -> str:
        """Adds x W + b, with W as large as keeps the variance of x."""
        product = self.add("MatMul", source, self.normal(rows, columns, scale=rows**-0.5))
        return self.add("Add", product, self.normal(columns))

    def norm(self, source: str, width: int, epsilon: float = 1e-12) -> str:
        """Adds a layer normalization over the last axis."""
        scale, bias = self.constant(np.ones(width, np.float32)), self.constant(np.zeros(width, np.float32))
        return self.add("LayerNormalization", source, scale, bias, axis=-1, epsilon=epsilon)

    def gelu(self, source: str) -> str:
        """Adds the exact GELU, in the nodes that exporters write and onnxruntime fuses."""
        scaled = self.add("Div", source, self.constant(np.float32(2**0.5)))
        weight = self.add("Add", self.add("Erf", scaled), self.constant(np.float32(1)))
        return self.add("Mul", self.add("Mul", source, weight), self.constant(np.float32(0.5)))

    def attention(self, source: str, shape: Shape, mask: str | None) -> str:
        """Adds self-attention of (b, s, width); `mask` is (b, 1, 1, s), added to the scores."""
        head = shape.width // shape.heads
        split = self.integers(0, 0, shape.heads, head)

        def heads(axes: list[int]) -> str:
            projected = self.linear(source, shape.width, shape.width)  # (b, s, width)
            return self.add("Transpose", self.add("Reshape", projected, split), perm=axes)

        query, key, value = heads([0, 2, 1, 3]), heads([0, 2, 3, 1]), heads([0, 2, 1, 3])
        scores = self.add("Div", self.add("MatMul", query, key), self.constant(np.float32(head**0.5)))  # (b, h, s, s)
        weights = self.add("Softmax", self.add("Add", scores, mask) if mask else scores, axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", weights, value), perm=[0, 2, 1, 3])  # (b, s, h, head)
        joined = self.add("Reshape", mixed, self.integers(0, 0, shape.width))
        return self.linear(joined, shape.width, shape.width)

    def inner(self, source: str, shape: Shape) -> str:
        """Adds the two layers behind attention."""
        return self.linear(self.gelu(self.linear(source, shape.width, shape.inner)), shape.inner, shape.width)

    def model(
        self, inputs: list[onnx.ValueInfoProto], result: str, output: str, shape: list[int | str]
    ) -> onnx.ModelProto:
        """Returns the model that gives `result` under the name `output`."""
        self.nodes.append(helper.make_node("Identity", [result], [output]))
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "bench", inputs, outputs, self.weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION, producer_name="bench"
        )
        onnx.checker.check_model(model)
        return model


def bert(shape: Shape, vocabulary: int, positions: int, seed: int = 0) -> onnx.ModelProto:
    """Returns a BERT: ids, mask and types (b, s) int64 in, `last_hidden_state` (b, s, width) out."""
    graph = Graph(seed)
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in names]
    tokens = graph.add("Gather", graph.normal(vocabulary, shape.width), "input_ids")
    types = graph.add("Gather", graph.normal(2, shape.width), "token_type_ids")
    length = graph.add("Slice", graph.add("Shape", "input_ids"), graph.integers(1), graph.integers(2))
    places = graph.add("Slice", graph.normal(positions, shape.width), graph.integers(0), length, graph.integers(0))
    hidden = graph.norm(graph.add("Add", graph.add("Add", tokens, types), places), shape.width)
    kept = graph.add("Cast", graph.add("Unsqueeze", "attention_mask", graph.integers(1, 2)), to=TensorProto.FLOAT)
    lost = graph.add("Sub", graph.constant(np.float32(1)), kept)
    mask = graph.add("Mul", lost, graph.constant(np.float32(np.finfo(np.float32).min)))  # (b, 1, 1, s)
    for _ in range(shape.layers):
        hidden = graph.norm(graph.add("Add", graph.attention(hidden, shape, mask), hidden), shape.width)
        hidden = graph.norm(graph.add("Add", graph.inner(hidden, shape), hidden), shape.width)
    return graph.model(inputs, hidden, "last_hidden_state", ["batch", "sequence", shape.width])


def vit(shape: Shape, edge: int, patch: int, seed: int = 0) -> onnx.ModelProto:
    """Returns a ViT: `pixel_values` (b, 3, edge, edge) in, `last_hidden_state` (b, 1 + patches, width) out."""
    graph = Graph(seed)
    count = (edge // patch) ** 2
    inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, edge, edge])]
    kernel, bias = graph.normal(shape.width, 3, patch, patch), graph.normal(shape.width)
    cells = graph.add("Conv", "pixel_values", kernel, bias, kernel_shape=[patch, patch], strides=[patch, patch])
    flat = graph.add("Reshape", cells, graph.integers(0, shape.width, count))
    rows = graph.add("Transpose", flat, perm=[0, 2, 1])  # (b, patches, width)
    one = graph.add("Concat", graph.add("Slice", graph.add("Shape", "pixel_values"), graph.integers(0),
                                        graph.integers(1)), graph.integers(1, shape.width), axis=0)  # fmt: skip
    first = graph.add("Expand", graph.normal(1, 1, shape.width), one)
    hidden = graph.add("Add", graph.add("Concat", first, rows, axis=1), graph.normal(1, count + 1, shape.width))
    for _ in range(shape.layers):
        hidden = graph.add("Add", graph.attention(graph.norm(hidden, shape.width), shape, None), hidden)
        hidden = graph.add("Add", graph.inner(graph.norm(hidden, shape.width), shape), hidden)
    hidden = graph.norm(hidden, shape.width)
    return graph.model(inputs, hidden, "last_hidden_state", ["batch", count + 1, shape.width])
