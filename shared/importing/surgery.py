"""Takes graphs apart: one encoder out of several, and a classifier into its encoder and its head."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared.importing.graph import Graph
from shared.importing.hub_folder import import_error

_PRODUCTS = ("Gemm", "MatMul", "MatMulInteger", "MatMulNBits", "QLinearMatMul")


@dataclass(frozen=True, slots=True)
class Cut:
    """A classifier in two: what gives the vector `output` of width `dim`, and what makes logits of `embedding`."""

    output: str
    dim: int
    encoder: bytes
    head: bytes


def only(graph: Graph, outputs: Sequence[str]) -> onnx.ModelProto:
    """Returns the part of a graph that gives some of its outputs, with the inputs and weights that these need."""
    kept = [each for each in graph.model.graph.output if each.name in outputs]
    return _part(graph.model, kept, stop=())


def averaged(graph: Graph, output: str) -> tuple[onnx.ModelProto, str]:
    """Returns a graph whose maps (b, channels, h, w) are averaged over the pixels, and what (b, channels) is called."""
    model, name = only(graph, [output]), f"{output}_mean"
    kind = model.graph.output[0].type.tensor_type.elem_type
    model.graph.node.append(helper.make_node("GlobalAveragePool", [output], [f"{name}_map"]))
    model.graph.node.append(helper.make_node("Flatten", [f"{name}_map"], [name], axis=1))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, kind, ["batch", "channels"]))
    return model, name


def cut_at_classifier(graph: Graph, output: str) -> Cut:
    """Returns a classifier cut before the last product that its logits are made of.

    Raises:
        FailedPrecondition: there is none with constant weights.
    """
    model = graph.model.graph
    makers = {name: place for place, node in enumerate(model.node) for name in node.output}
    constant = _constants(model)
    frontier, width = {output}, 0
    # Back from the logits, the latest node first, until one tensor alone feeds all that comes after it.
    while not (width and len(frontier) == 1):
        latest = max(frontier, key=lambda name: makers.get(name, -1))
        if latest not in makers:
            raise import_error(graph.name, f"has no linear classifier before {output}; its head cannot be served")
        node = model.node[makers[latest]]
        frontier = (frontier - set(node.output)) | {name for name in node.input if name and name not in constant}
        if node.op_type in _PRODUCTS:
            width = _fan_in(graph, node) or width
    (vector,) = frontier
    kind = _type_of(graph.model, vector)
    embedding = helper.make_tensor_value_info(vector, kind, ["batch", width])
    encoder = _part(graph.model, [embedding], stop=())
    logits = [each for each in model.output if each.name == output]
    head = _part(graph.model, logits, stop=(vector,))
    head.graph.input.append(helper.make_tensor_value_info("embedding", kind, ["batch", width]))
    for node in head.graph.node:
        node.input[:] = ["embedding" if name == vector else name for name in node.input]
    return Cut(vector, width, encoder.SerializeToString(), head.SerializeToString())


def from_product(graph: Graph, output: str) -> tuple[onnx.ModelProto, tuple[str, str]] | None:
    """Returns the end of a graph that makes logits of two vectors, from their product on, and what it takes.

    None where no product of two varying tensors is found on the way back.
    """
    model = graph.model.graph
    makers = {name: node for node in model.node for name in node.output}
    constant, name = _constants(model), output
    while (node := makers.get(name)) is not None:
        varying = [each for each in node.input if each and each not in constant]
        if node.op_type in ("MatMul", "Gemm", "FusedMatMul") and len(varying) == 2:
            logits = [each for each in model.output if each.name == output]
            part = _part(graph.model, logits, stop=varying)
            kind = _type_of(graph.model, *varying)
            part.graph.input.extend(helper.make_tensor_value_info(each, kind, ["a", "b"]) for each in varying)
            return part, (varying[0], varying[1])
        if len(varying) != 1:
            return None
        name = varying[0]
    return None


def _part(model: onnx.ModelProto, outputs: Sequence[onnx.ValueInfoProto], stop: Collection[str]) -> onnx.ModelProto:
    """Returns what makes some tensors of a graph, from its inputs on or from the tensors `stop` on."""
    graph = model.graph
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output}
    wanted, places = [each.name for each in outputs], set()
    needed = set(wanted) | set(stop)
    while wanted:
        name = wanted.pop()
        place = None if name in stop else makers.get(name)
        if place is not None and place not in places:
            places.add(place)
            wanted += (new := set(_reads(graph.node[place])) - needed)
            needed |= new
    part = helper.make_graph(
        [node for place, node in enumerate(graph.node) if place in places],
        graph.name or "part",
        [each for each in graph.input if each.name in needed and each.name not in stop],
        outputs,
        [each for each in graph.initializer if each.name in needed],
        sparse_initializer=[each for each in graph.sparse_initializer if each.values.name in needed],
    )
    result = helper.make_model(part, functions=model.functions, opset_imports=model.opset_import)
    result.ir_version = model.ir_version
    return result


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yields the names that a node reads, those of the graphs within it included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)
            yield from (each.name for each in graph.output)


def _constants(graph: onnx.GraphProto) -> set[str]:
    """Returns the tensors that depend on no input."""
    constant = {each.name for each in graph.initializer} | {each.values.name for each in graph.sparse_initializer}
    for node in graph.node:
        if all(name in constant for name in _reads(node)):
            constant |= set(node.output)
    return constant


def _fan_in(graph: Graph, node: onnx.NodeProto) -> int:
    """Returns how many numbers a product takes of each row; 0 where its weights are not stored."""
    attributes = {each.name: each for each in node.attribute}
    if node.op_type == "MatMulNBits":
        return int(attributes["K"].i)
    weights = _stored_shape(graph.model.graph, node.input[3] if node.op_type == "QLinearMatMul" else node.input[1])
    if len(weights) != 2:
        return 0
    is_transposed = node.op_type == "Gemm" and "transB" in attributes and attributes["transB"].i
    return int(weights[1] if is_transposed else weights[0])


def _stored_shape(graph: onnx.GraphProto, name: str) -> Sequence[int]:
    """Returns the shape of a weight, also of one that is dequantized, cast or transposed; empty for other tensors."""
    for each in graph.initializer:
        if each.name == name:
            return list(each.dims)
    maker = next((node for node in graph.node if name in node.output), None)
    if maker is None or maker.op_type not in ("DequantizeLinear", "Cast", "Identity", "Transpose"):
        return []
    shape = _stored_shape(graph, maker.input[0])
    return shape[::-1] if maker.op_type == "Transpose" else shape


def _type_of(model: onnx.ModelProto, *names: str) -> int:
    """Returns the type of numbers that tensors share; float32 where inference does not tell."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    kinds = {each.name: each.type.tensor_type.elem_type for each in values}
    return int(next((kinds[name] for name in names if kinds.get(name)), TensorProto.FLOAT))


def layers(steps: Sequence[tuple[str, Sequence[NDArray[Any]]]], names: tuple[str, str]) -> bytes:
    """Returns a graph of layers in a row, each an operator with its weights.

    names: of the input (b, width) and the output. `Linear` takes weights (out, in) and perhaps a bias (out,).
    """
    nodes, weights, value = [], [], names[0]
    for place, (kind, arrays) in enumerate(steps):
        stored = [f"{kind}_{place}_{number}" for number in range(len(arrays))]
        weights += [numpy_helper.from_array(array, name) for array, name in zip(arrays, stored, strict=True)]
        result = names[1] if place == len(steps) - 1 else f"value_{place}"
        operator, options = _OPERATORS.get(kind, (kind, {}))
        nodes.append(helper.make_node(operator, [value, *stored], [result], **options))
        value = result
    inputs = [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, ["batch", "width"])]
    outputs = [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, ["batch", "dim"])]
    model = helper.make_model(
        helper.make_graph(nodes, "layers", inputs, outputs, weights), opset_imports=[helper.make_opsetid("", 20)]
    )
    model.ir_version = 9
    return bytes(model.SerializeToString())


# Any: ONNX attributes are of many kinds.
_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "Linear": ("Gemm", {"transB": 1}),
    "Normalize": ("LpNormalization", {"axis": -1, "p": 2}),
    "LayerNorm": ("LayerNormalization", {"axis": -1, "epsilon": 1e-5}),
}
