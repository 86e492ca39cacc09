"""The ways to make a graph of 8 bits of one in fp32."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

from shared.importing.blocks import quantized_in_blocks
from shared.importing.hub_folder import import_error

Feeds = Mapping[str, NDArray[Any]]  # Any: inputs of whatever type
Way = Literal["static", "weights", "dynamic"]

WAYS: Mapping[Way, str] = {
    "static": "static QDQ, uint8 activations, int8 weights",
    "weights": "weights alone, 8 bits in blocks of 32, each row rounded by itself",
    "dynamic": "dynamic, uint8 activations by the range of a run, int8 weights of products of matrices",
}
MIXING = ("dynamic",)  # their vectors would depend on the others of a batch: inputs are run one by one

# The products of matrices, and the tables of embeddings, which are half of a small text model. Norms, softmax and GELU
# stay in fp32: int8 there cost MiniLM's cosine 0.0008 and won no time.
_OPS = ["MatMul", "Gemm", "Conv", "Gather"]


def quantized_graph(graph: Path, way: Way, batches: Iterator[Feeds], *, per_channel: bool) -> bytes:
    """Returns a graph in 8 bits; `static` alone runs `batches` to calibrate, and `weights` is always in blocks.

    Raises:
        FailedPrecondition: the graph cannot be quantized in that way.
    """
    with tempfile.TemporaryDirectory(prefix="quantizing-") as folder, _quiet():
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "made.onnx"
        try:
            _fold(graph, prepared)
            if way == "static":
                _static(prepared, made, batches, per_channel=per_channel)
            elif way == "dynamic":
                options = {"op_types_to_quantize": ["MatMul"], "weight_type": QuantType.QInt8}
                quantize_dynamic(prepared, made, per_channel=per_channel, **options)
            else:
                model = onnx.load(prepared)
                if not quantized_in_blocks(model):
                    raise ValueError("it has no product of matrices with stored weights")
                onnx.save(model, made)
        except Exception as fault:  # noqa: BLE001  # onnxruntime's errors share no public base
            raise import_error(str(graph), f"cannot be quantized ({way}): {str(fault)[:200]}") from None
        return made.read_bytes()


def _static(prepared: Path, made: Path, batches: Iterator[Feeds], *, per_channel: bool) -> None:
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


class _Reader:
    """What onnxruntime's calibration reads from: one batch after the other, then None."""

    def __init__(self, batches: Iterator[Feeds]) -> None:
        self._batches = batches

    def get_next(self) -> Feeds | None:
        return next(self._batches, None)


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
