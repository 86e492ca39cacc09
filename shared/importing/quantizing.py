"""Makes an int8 package of one in fp32, and measures on real inputs what that costs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from shared.importing.graph import Graph, read_graph
from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.packages import copied, made_file
from shared.importing.ways import MIXING, WAYS, Feeds, Way, quantized_graph
from shared.inference.package import Package
from shared.inference.session import Session

Rows = NDArray[np.float32]

LEAST_INPUTS = 8
_HELD_OUT = 4  # every fourth input is kept from calibration, and measured on

_QUANTIZED = ("QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "MatMulNBits")
_MOST_BYTES = 1_900_000_000  # of a graph with its weights: protobuf ends at 2 GiB
_WARM_UP_RUNS, _TIMED_RUNS = 2, 40


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How an int8 model compares with its fp32 original, on inputs that calibration did not see.

    minimum_cosine, mean_cosine: of the two vectors of an input.
    largest_pair_change: of the cosine of a pair, each model in its own space.
    neighbour_agreement: the share of inputs whose nearest neighbour among all inputs stays the same.
    size_ratio: bytes of int8 to bytes of fp32; fp32_ms, int8_ms: median time of one run of one input on one CPU, by
        turns; latency_ratio: of the second to the first.
    """

    way: Way
    calibration_count: int
    held_out_count: int
    minimum_cosine: float
    mean_cosine: float
    largest_pair_change: float
    neighbour_agreement: float
    size_ratio: float
    fp32_ms: float
    int8_ms: float
    latency_ratio: float


@dataclass(frozen=True, slots=True)
class Costs:
    """See `Fidelity`."""

    size_ratio: float
    fp32_ms: float
    int8_ms: float


def split(inputs: Sequence[str | Path]) -> tuple[Sequence[str | Path], Sequence[str | Path]]:
    """Returns the inputs to calibrate with and those to measure on; equal ones count once.

    Raises:
        FailedPrecondition: they are too few.
    """
    different = list(dict.fromkeys(inputs))
    if len(different) < LEAST_INPUTS:
        raise import_error(
            "inputs", f"are {len(different)} different ones; give {LEAST_INPUTS} or more, a hundred are good"
        )
    held_out = different[_HELD_OUT - 1 :: _HELD_OUT]
    return [each for at, each in enumerate(different) if at % _HELD_OUT != _HELD_OUT - 1], held_out


def check_quantizable(package: Package) -> None:
    """Refuses what is quantized already, is no encoder, or is too large.

    Raises:
        FailedPrecondition: it cannot be quantized.
    """
    manifest = package.manifest
    if manifest.task != "encode":
        raise import_error(manifest.id, f"is no encoder: its task is {manifest.task}")
    graph = _graph_of(package)
    operators = {node.op_type for node in graph.model.graph.node}
    if manifest.precision == "int8" or operators & set(_QUANTIZED):
        raise import_error(manifest.id, "is quantized already")
    if any(weight.data_type == onnx.TensorProto.FLOAT16 for weight in graph.model.graph.initializer):
        raise import_error(manifest.id, "has weights in half precision; quantize the fp32 variant")
    size = sum(package.path(name).stat().st_size for name in graph.files)
    if size > _MOST_BYTES:
        raise import_error(manifest.id, f"has a graph of {size} bytes; at most {_MOST_BYTES} can be quantized")


def write_quantized(
    package: Package, target: Path, way: Way, batches: Iterator[Feeds], *, per_channel: bool, same_space: bool
) -> None:
    """Writes the package `target` (`<name>/<version>`) with the graph in int8, and all else as it was.

    batches: what calibration runs on, one after the other, where the way calibrates.

    Raises:
        FailedPrecondition: the graph cannot be quantized in that way.
    """
    manifest = json.loads(package.path("manifest.json").read_text(encoding="utf-8"))
    replaced = _graph_of(package).files  # its weights lie in the new one
    files = {name: copied(package.path(name), target / name) for name in manifest["files"] if name not in replaced}
    data = quantized_graph(package.path(package.manifest.graph), way, batches, per_channel=per_channel)
    files[package.manifest.graph] = made_file(data, target / package.manifest.graph)
    name, version = target.parent.name, target.name
    source = f"{package.manifest.source or package.manifest.id}; {package.manifest.id} quantized to int8"
    space = package.manifest.space if same_space else f"{name}@{version}"
    manifest |= {"name": name, "version": version, "space": space, "precision": "int8", "source": source}
    if way in MIXING:
        manifest["limits"] = {**manifest["limits"], "max_batch_items": 1}
    _write_manifest(target, {**manifest, "files": files})


def note(target: Path, fidelity: Fidelity, *, per_channel: bool) -> None:
    """Keeps in the manifest of a quantized package how it was made, and what was measured."""
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    facts = {"method": WAYS[fidelity.way], "per_channel": per_channel, **asdict(fidelity)}
    _write_manifest(target, {**manifest, "training": {**manifest.get("training", {}), "quantization": facts}})


def compare(way: Way, exact: Rows, other: Rows, calibration_count: int, costs: Costs) -> Fidelity:
    """Returns the fidelity of vectors (n, dim) of length 1: those of calibration first, then those held out."""
    start, count = calibration_count, len(exact)
    held = exact[start:], other[start:]
    cosines = (held[0].astype(np.float64) * held[1]).sum(1)
    pairs = held[0] @ exact.T, held[1] @ other.T  # (held out, all)
    itself = np.arange(start, count)
    nearest = []
    for each in pairs:
        others = each.copy()
        others[np.arange(count - start), itself] = -np.inf
        nearest.append(others.argmax(1))
    return Fidelity(
        way=way,
        calibration_count=start,
        held_out_count=count - start,
        minimum_cosine=round(float(cosines.min()), 6),
        mean_cosine=round(float(cosines.mean()), 6),
        largest_pair_change=round(float(np.abs(pairs[0] - pairs[1]).max()), 6),
        neighbour_agreement=round(float((nearest[0] == nearest[1]).mean()), 4),
        size_ratio=round(costs.size_ratio, 4),
        fp32_ms=round(costs.fp32_ms, 3),
        int8_ms=round(costs.int8_ms, 3),
        latency_ratio=round(costs.int8_ms / costs.fp32_ms, 4),
    )


def costs(package: Package, quantized: Package, batches: Sequence[Feeds]) -> Costs:
    """Returns what the two take; their runs alternate, so that a busy machine slows both."""
    sessions = [Session(each, each.manifest.graph, each.manifest.output) for each in (package, quantized)]
    seconds: tuple[list[float], list[float]] = ([], [])
    for at in range(-_WARM_UP_RUNS, _TIMED_RUNS):
        for session, kept in zip(sessions, seconds, strict=True):
            started = time.perf_counter()
            session.run(batches[at % len(batches)])
            if at >= 0:
                kept.append(time.perf_counter() - started)
    both = (package, quantized)
    exact, other = (sum(each.path(name).stat().st_size for name in each.manifest.files) for each in both)
    return Costs(other / exact, *(1000 * float(np.median(each)) for each in seconds))


def best(found: Sequence[Fidelity], minimum_cosine: float) -> Fidelity:
    """Returns the fastest of those whose least cosine is high enough; where none is, the one nearest to fp32."""
    good = [each for each in found if each.minimum_cosine >= minimum_cosine]
    if good:
        return min(good, key=lambda each: each.int8_ms)
    return max(found, key=lambda each: each.minimum_cosine)


def _graph_of(package: Package) -> Graph:
    return read_graph(HubFolder(package.folder), package.manifest.graph)


def _write_manifest(target: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (target / "manifest.json").write_text(text, encoding="utf-8")
