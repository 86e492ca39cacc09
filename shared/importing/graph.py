"""What a graph takes and gives, read from its file without loading the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import onnx

from shared.importing.hub_folder import import_error

Shape = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """A graph's inputs and outputs with their shapes (symbolic sizes by name), and the files of its weights."""

    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    external_files: Sequence[str]


def read_graph(root: Path, name: str) -> GraphFacts:
    """Returns what the graph in `root / name` says of itself; external files are named relative to `root`.

    Raises:
        FailedPrecondition: it is no ONNX, or its weights lie outside of the folder.
    """
    try:
        model = onnx.load(str(root / name), load_external_data=False)
    except Exception as fault:  # noqa: BLE001  # protobuf's errors are of several kinds
        raise import_error(name, f"is no ONNX graph: {str(fault)[:100]}") from None
    weights = {tensor.name for tensor in model.graph.initializer}
    return GraphFacts(
        {each.name: _shape(each) for each in model.graph.input if each.name not in weights},
        {each.name: _shape(each) for each in model.graph.output},
        _external_files(model, root, name),
    )


def _shape(value: onnx.ValueInfoProto) -> Shape:
    sizes = value.type.tensor_type.shape.dim
    return tuple(size.dim_value if size.HasField("dim_value") else size.dim_param for size in sizes)


def _external_files(model: onnx.ModelProto, root: Path, name: str) -> list[str]:
    found = set()
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                found.add(entry.value)
    folder = PurePosixPath(name).parent
    for location in sorted(found):
        path = PurePosixPath(location)
        if path.is_absolute() or ".." in path.parts:
            raise import_error(name, f"keeps weights in {location!r}, outside of its folder; export it again")
        if not (root / folder / path).is_file():
            raise import_error(str(folder / path), f"is missing; {name} keeps weights in it")
    return [str(folder / location) for location in sorted(found)]
