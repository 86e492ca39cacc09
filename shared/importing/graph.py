"""What a graph takes and gives, read from its file without loading the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import onnx

from shared.importing.hub_folder import MAX_GRAPH_BYTES, HubFolder, import_error

# Operators that quantize by the range of a whole batch.
_MIXING = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")

# Operators that give other numbers at each run.
_DRAWING = ("RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike", "Multinomial", "Bernoulli")

Shape = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph of an export.

    inputs, outputs: shapes by name, symbolic sizes by theirs. files: its own and those of its weights, relative to the
    export.
    """

    name: str
    model: onnx.ModelProto
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    files: Sequence[str]

    @property
    def runs_alone(self) -> str:
        """Why inputs must be run one by one; empty where they need not.

        Raises:
            FailedPrecondition: the graph takes batches of one other size alone.
        """
        sizes = {shape[0] for shape in self.inputs.values() if shape and isinstance(shape[0], int)}
        if sizes - {1}:
            raise import_error(self.name, f"takes batches of {max(sizes)} alone; export it with a dynamic batch axis")
        if sizes:
            return "the graph was exported for one input at a time; a dynamic batch axis would be faster"
        if any(node.op_type in _MIXING for node in self.model.graph.node):
            return "it quantizes over whole batches, which would make a vector depend on its neighbours"
        return ""

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers when it runs."""
        return any(node.op_type in _DRAWING for node in self.model.graph.node)

    @property
    def token_count(self) -> int:
        """The only number of tokens that the graph takes; 0 where it takes any."""
        shape = self.inputs.get("input_ids", ())
        return shape[1] if len(shape) > 1 and isinstance(shape[1], int) else 0

    def width(self, output: str) -> int:
        """Returns the last size of an output; 0 where it is symbolic."""
        size = self.outputs[output][-1] if self.outputs[output] else 0
        return size if isinstance(size, int) else 0


def read_graph(folder: HubFolder, name: str) -> Graph:
    """Returns the graph in a file of an export.

    Raises:
        FailedPrecondition: it is no ONNX, too large, or its weights lie outside of the folder.
    """
    path = folder.path(name, MAX_GRAPH_BYTES)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as fault:  # noqa: BLE001  # protobuf's errors are of several kinds
        raise import_error(name, f"is no ONNX graph: {str(fault)[:100]}") from None
    weights = {tensor.name for tensor in model.graph.initializer}
    return Graph(
        name,
        model,
        {each.name: _shape(each) for each in model.graph.input if each.name not in weights},
        {each.name: _shape(each) for each in model.graph.output},
        [name, *_external_files(model.graph, folder, name)],
    )


def _shape(value: onnx.ValueInfoProto) -> Shape:
    sizes = value.type.tensor_type.shape.dim
    return tuple(size.dim_value if size.HasField("dim_value") else size.dim_param for size in sizes)


def _external_files(graph: onnx.GraphProto, root: HubFolder, name: str) -> list[str]:
    locations = {entry.value for tensor in _tensors(graph) for entry in tensor.external_data if entry.key == "location"}
    folder, found = PurePosixPath(name).parent, []
    for location in sorted(locations):
        path = PurePosixPath(location)
        if path.is_absolute() or ".." in path.parts:
            raise import_error(name, f"keeps weights in {location!r}, outside of its folder; export it again")
        if not root.has(str(folder / path)):
            raise import_error(str(folder / path), f"is missing; {name} keeps weights in it")
        root.path(str(folder / path))
        found.append(str(folder / path))
    return found


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yields every tensor of a graph: its weights, and those in its nodes and in the graphs within them."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)
