"""Quantizes weights alone, in blocks: a scale for each 32 of them; the other factor is rounded as it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_BLOCK = 32
_ZERO = 128  # what MatMulNBits takes for 0 in 8 bits, where nothing else is said
_INT8 = 4  # the accuracy level at which a block of the other side is rounded to int8, with a scale of its own
_DOMAIN = "com.microsoft"


def quantized_in_blocks(model: onnx.ModelProto) -> int:
    """Turns the products of a graph with stored weights (k, n) into MatMulNBits of 8 bits; returns how many it found.

    A row is rounded by itself, so that a vector does not depend on the others of its batch.
    """
    weights = {each.name: each for each in model.graph.initializer}
    found = [node for node in model.graph.node if node.op_type == "MatMul" and _is_matrix(weights.get(node.input[1]))]
    for node in found:
        node.CopyFrom(_in_blocks(model, node, numpy_helper.to_array(weights[node.input[1]])))
    used = {name for node in model.graph.node for name in node.input}
    kept = [each for each in model.graph.initializer if each.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    if found and not any(each.domain == _DOMAIN for each in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return len(found)


def _is_matrix(weight: onnx.TensorProto | None) -> bool:
    return weight is not None and len(weight.dims) == 2 and weight.data_type == onnx.TensorProto.FLOAT


def _in_blocks(model: onnx.ModelProto, node: onnx.NodeProto, weight: NDArray[Any]) -> onnx.NodeProto:
    depth, width = weight.shape
    codes, scales = _rounded(weight)
    names = [f"{node.output[0]}_codes", f"{node.output[0]}_scales"]
    model.graph.initializer.append(numpy_helper.from_array(codes, names[0]))
    model.graph.initializer.append(numpy_helper.from_array(scales, names[1]))
    return helper.make_node(
        "MatMulNBits",
        [node.input[0], *names],
        list(node.output),
        name=node.name,
        domain=_DOMAIN,
        K=depth,
        N=width,
        bits=8,
        block_size=_BLOCK,
        accuracy_level=_INT8,
    )


def _rounded(weight: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Returns the codes (n, blocks, 32) of weights (k, n), and their scales (n * blocks)."""
    depth, width = weight.shape
    blocks = -(-depth // _BLOCK)
    padded = np.zeros((width, blocks * _BLOCK), np.float32)
    padded[:, :depth] = weight.T
    cut = padded.reshape(width, blocks, _BLOCK)
    scales = np.maximum(np.abs(cut).max(-1) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    codes = np.clip(np.round(cut / scales[..., None]) + _ZERO, 1, 255).astype(np.uint8)
    return codes, scales.reshape(-1)
