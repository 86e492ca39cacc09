"""Makes small model packages for tests: graphs of one or two nodes, and manifests to go with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_package(root: Path, name: str, graph: onnx.ModelProto, version: str = "1", **fields: Any) -> Path:
    """Writes `<root>/<name>/<version>/` and returns it; `fields` go into the manifest (Any: JSON)."""
    folder = root / name / version
    folder.mkdir(parents=True)
    onnx.save(graph, folder / "model.onnx")
    files = {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()}
    manifest = {
        "schema": 1,
        "name": name,
        "version": version,
        "graph": "model.onnx",
        "limits": {"max_batch_items": 8, "max_batch_cost": 64},
        "files": files,
        **fields,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def linear(weights: np.ndarray[Any, np.dtype[np.float32]], source: str, target: str) -> onnx.ModelProto:
    """Returns a graph that multiplies `source` (b, n) by `weights` (n, m)."""
    return _graph(
        [helper.make_node("MatMul", [source, "weights"], [target])],
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["b", weights.shape[0]])],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT, ["b", weights.shape[1]])],
        {"weights": weights},
    )


def _graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray[Any, np.dtype[np.float32]]],
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def bridge(root: Path, source: str, target: str, weights: np.ndarray[Any, np.dtype[np.float32]]) -> Path:
    """Writes a package that projects vectors of the space `source` into `target`."""
    return write_package(
        root,
        f"bridge-{source.partition('@')[0]}-{target.partition('@')[0]}",
        linear(weights, "embedding", "projected"),
        task="project",
        space=target,
        source_space=source,
        source_dim=weights.shape[0],
        dim=weights.shape[1],
        output="projected",
    )
