"""Runs a quantized graph as its weights say: integer products in floating point, which neither saturate nor wrap."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from shared.importing.packages import made_file
from shared.inference.package import Package, open_package
from shared.inference.reference import FILE, Feeds, packed

_QDQ = "DequantizeLinear"
_INTEGER = {"MatMulInteger": ("MatMul", TensorProto.DOUBLE), "ConvInteger": ("Conv", TensorProto.FLOAT)}
_BLOCKS = "MatMulNBits"
# Those of which no exact form is known here.
_FUSED = ("QLinearMatMul", "QLinearConv", "QGemm", "QAttention", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
# Two that add up in another order: what they differ by is how far right answers may be apart.
_LEVELS = (onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
_MOST_BYTES = 1_900_000_000  # of a graph with its weights: protobuf ends at 2 GiB


def vouch(package: Package, feeds: Sequence[Feeds]) -> Package:
    """Writes into an int8 package that it is one, and what its weights give for a few inputs; returns it anew.

    A graph that is not quantized is left as it is. One with operators of which no exact form is known, or that is too
    large, keeps no reference.
    """
    model = onnx.load(str(package.path(package.manifest.graph)), load_external_data=False)
    kinds = {node.op_type for node in model.graph.node}
    if not kinds & {_QDQ, *_INTEGER, *_FUSED, _BLOCKS}:
        return package
    file = package.path("manifest.json")
    manifest = json.loads(file.read_text(encoding="utf-8"))
    if not kinds.isdisjoint((_QDQ, *_INTEGER, *_FUSED)):
        manifest["precision"] = "int8"
    size = sum(package.path(name).stat().st_size for name in package.manifest.files)
    if kinds.isdisjoint(_FUSED) and size < _MOST_BYTES:
        outputs = [_outputs(package, feeds, level) for level in _LEVELS]
        data = packed(list(zip(feeds, outputs[0], strict=True)), outputs[1])
        manifest["files"][FILE] = made_file(data, package.folder / FILE)
    file.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return open_package(package.folder)


def _outputs(package: Package, feeds: Sequence[Feeds], level: Any) -> Sequence[NDArray[np.float32]]:
    """Returns the graph's output of each, computed exactly. Any: onnxruntime's levels have no type."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # what is dequantized is then multiplied in fp32
    model = onnx.load(str(package.path(package.manifest.graph)))
    nodes = [each for node in model.graph.node for each in _exact(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [session.run([package.manifest.output], dict(each))[0].astype(np.float32, copy=False) for each in feeds]


def _exact(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yields what computes the same without kernels of 8 bits."""
    if node.op_type == _BLOCKS:
        for each in node.attribute:
            if each.name == "accuracy_level":
                each.i = 1  # fp32
    if node.op_type not in _INTEGER:
        yield node
        return
    kind, number = _INTEGER[node.op_type]
    prefix, factors = f"{node.output[0]}_exact", []
    for at in (0, 1):
        value = f"{prefix}_{at}"
        yield helper.make_node("Cast", [node.input[at]], [value], to=number)
        if len(node.input) > at + 2 and node.input[at + 2]:
            yield helper.make_node("Cast", [node.input[at + 2]], [f"{value}_zero"], to=number)
            yield helper.make_node("Sub", [value, f"{value}_zero"], [f"{value}_centred"])
            value = f"{value}_centred"
        factors.append(value)
    product = helper.make_node(kind, factors, [prefix])
    product.attribute.extend(node.attribute)
    yield product
    yield helper.make_node("Cast", [prefix], [node.output[0]], to=TensorProto.INT32)
