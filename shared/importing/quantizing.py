"""Makes an int8 package of one in fp32, by calibration on real inputs, and measures what that costs."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from shared.importing.graph import Graph, read_graph
from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.packages import copied, made_file
from shared.inference.package import Package
from shared.inference.session import Session

Feeds = Mapping[str, NDArray[Any]]  # Any: inputs of whatever type
Rows = NDArray[np.float32]

LEAST_INPUTS = 8
_HELD_OUT = 4  # every fourth input is kept from calibration, and measured on

# The products of matrices, and the tables of embeddings, which are half of a small text model. Norms, softmax and GELU
# stay in fp32: int8 there cost MiniLM's cosine 0.0008 and won no time.
_OPS = ["MatMul", "Gemm", "Conv", "Gather"]
_QUANTIZED = ("QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger")
_MOST_BYTES = 1_900_000_000  # of a graph with its weights: protobuf ends at 2 GiB
_WARM_UP_RUNS, _TIMED_RUNS = 2, 40


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How an int8 model compares with its fp32 original, on inputs that calibration did not see.

    minimum_cosine, mean_cosine: of the two vectors of an input.
    largest_pair_change: of the cosine of a pair, each model in its own space.
    neighbour_agreement: the share of inputs whose nearest neighbour among all inputs stays the same.
    size_ratio: bytes of int8 to bytes of fp32; latency_ratio: the same of the median time of one run on one CPU.
    """

    calibration_count: int
    held_out_count: int
    minimum_cosine: float
    mean_cosine: float
    largest_pair_change: float
    neighbour_agreement: float
    size_ratio: float
    latency_ratio: float


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
    package: Package, target: Path, batches: Iterator[Feeds], *, per_channel: bool, same_space: bool
) -> None:
    """Writes the package `target` (`<name>/<version>`) with the graph in int8 (QDQ, static), and all else as it was.

    batches: what calibration runs on, one after the other.

    Raises:
        FailedPrecondition: onnxruntime cannot quantize the graph.
    """
    manifest = json.loads(package.path("manifest.json").read_text(encoding="utf-8"))
    replaced = _graph_of(package).files  # its weights lie in the new one
    files = {name: copied(package.path(name), target / name) for name in manifest["files"] if name not in replaced}
    data = _quantized_graph(package, batches, per_channel=per_channel)
    files[package.manifest.graph] = made_file(data, target / package.manifest.graph)
    name, version = target.parent.name, target.name
    source = f"{package.manifest.source or package.manifest.id}; {package.manifest.id} quantized to int8"
    space = package.manifest.space if same_space else f"{name}@{version}"
    manifest |= {"name": name, "version": version, "space": space, "precision": "int8", "source": source}
    _write_manifest(target, {**manifest, "files": files})


def note(target: Path, fidelity: Fidelity, *, per_channel: bool) -> None:
    """Keeps in the manifest of a quantized package how it was made, and what was measured."""
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    facts = {"method": "static QDQ, uint8 activations, int8 weights", "per_channel": per_channel, **asdict(fidelity)}
    _write_manifest(target, {**manifest, "training": {**manifest.get("training", {}), "quantization": facts}})


def compare(exact: Rows, other: Rows, calibration_count: int, ratios: tuple[float, float]) -> Fidelity:
    """Returns the fidelity of vectors (n, dim) of length 1: those of calibration first, then those held out.

    ratios: of size and of latency.
    """
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
        calibration_count=start,
        held_out_count=count - start,
        minimum_cosine=round(float(cosines.min()), 6),
        mean_cosine=round(float(cosines.mean()), 6),
        largest_pair_change=round(float(np.abs(pairs[0] - pairs[1]).max()), 6),
        neighbour_agreement=round(float((nearest[0] == nearest[1]).mean()), 4),
        size_ratio=round(ratios[0], 4),
        latency_ratio=round(ratios[1], 4),
    )


def ratios(package: Package, quantized: Package, batches: Sequence[Feeds]) -> tuple[float, float]:
    """Returns the sizes' and the latencies' ratio, int8 to fp32; runs alternate, so that a busy machine slows both."""
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
    return other / exact, float(np.median(seconds[1]) / np.median(seconds[0]))


class _Reader:
    """What onnxruntime's calibration reads from: one batch after the other, then None."""

    def __init__(self, batches: Iterator[Feeds]) -> None:
        self._batches = batches

    def get_next(self) -> Feeds | None:
        return next(self._batches, None)


def _quantized_graph(package: Package, batches: Iterator[Feeds], *, per_channel: bool) -> bytes:
    graph = package.path(package.manifest.graph)
    with tempfile.TemporaryDirectory(prefix="quantizing-") as folder, _quiet():
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "made.onnx"
        try:
            _fold(graph, prepared)
            quantize_static(
                prepared,
                made,
                _Reader(batches),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_OPS,
                per_channel=per_channel,
                activation_type=QuantType.QUInt8,  # with int8 weights; both int8 ran 5× slower on AVX-512 VNNI
                weight_type=QuantType.QInt8,
            )
        except Exception as fault:  # noqa: BLE001  # onnxruntime's errors share no public base
            raise import_error(str(graph), f"cannot be quantized: {str(fault)[:200]}") from None
        return made.read_bytes()


def _fold(graph: Path, folded: Path) -> None:
    """Writes the graph with constants folded and its weights inside.

    `quant_pre_process` of onnxruntime 1.24 does the same but fails with onnx 1.23.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 3
    whole = onnx.load(graph).SerializeToString()  # from the file, what is written would refer to weights beside it
    onnxruntime.InferenceSession(whole, options, providers=["CPUExecutionProvider"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps onnxruntime's quantization from logging what it leaves in fp32."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _graph_of(package: Package) -> Graph:
    return read_graph(HubFolder(package.folder), package.manifest.graph)


def _write_manifest(target: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (target / "manifest.json").write_text(text, encoding="utf-8")
