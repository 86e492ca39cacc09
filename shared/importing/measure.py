"""Finds by running what an export's files do not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import helper
from onnx.external_data_helper import load_external_data_for_model

from shared.importing.graph import Graph
from shared.importing.hub_folder import HubFolder, import_error
from shared.importing.surgery import from_product

_TOKENS = 8
_SAME = 1e-4  # of the largest number: two runs that sum in another order
_PROVIDERS = ["CPUExecutionProvider"]


def width(folder: HubFolder, graph: Graph, output: str, numbers: Mapping[str, Any], axis: int = -1) -> int:
    """Returns the width of an output, from one run on made-up input of the shape that `numbers` (JSON) say.

    axis: which of its sizes is the width.

    Raises:
        FailedPrecondition: the graph cannot be run on that.
    """
    try:
        session = onnxruntime.InferenceSession(str(folder.root / graph.name), _options(), providers=_PROVIDERS)
        (result,) = session.run([output], {each.name: _made_up(each, numbers) for each in session.get_inputs()})
    except Exception as fault:  # noqa: BLE001  # onnxruntime's errors share no public base
        raise import_error(graph.name, f"states no width for {output}, and a run fails: {str(fault)[:150]}") from None
    return int(result.shape[axis])


def repeats(folder: HubFolder, graph: Graph, output: str, is_cls: bool, numbers: Mapping[str, Any]) -> bool:
    """Returns whether two runs on one made-up picture give the same; is_cls: of its first token, else of all."""
    session = onnxruntime.InferenceSession(str(folder.root / graph.name), _options(), providers=_PROVIDERS)
    feeds = {each.name: _made_up(each, numbers) for each in session.get_inputs()}
    first, second = (session.run([output], feeds)[0].astype(np.float32) for _ in range(2))
    if is_cls:
        first, second = first[:, 0], second[:, 0]
    elif first.shape == second.shape and first.ndim == 3:  # in any order: what is pooled does not depend on it
        first, second = first.mean(1), second.mean(1)
    return first.shape == second.shape and float(np.abs(first - second).max()) <= _SAME * float(np.abs(first).max())


def scale_and_bias(folder: HubFolder, graph: Graph, output: str) -> tuple[float, float] | None:
    """Returns what logits are of the product of two vectors: scale * product + bias; None where that cannot be told."""
    part = from_product(graph, output)
    if part is None:
        return None
    model, (left, right) = part
    one = np.ones((1, 1), helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type))
    try:
        load_external_data_for_model(model, str((folder.root / graph.name).parent))
        session = onnxruntime.InferenceSession(model.SerializeToString(), _options(), providers=_PROVIDERS)
        bias, both = (float(session.run(None, {left: one, right: value * one})[0].item()) for value in (0, 1))
    except Exception:  # noqa: BLE001  # as above; the model is served all the same, without probabilities
        return None
    return both - bias, bias


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # warnings are about optimisations of a graph that is run once
    return options


def _made_up(wanted: onnxruntime.NodeArg, numbers: Mapping[str, Any]) -> NDArray[Any]:
    """Returns one row for an input of a graph of texts, pictures, or CLAP's sounds."""
    dtype = _DTYPES.get(wanted.type, np.float32)
    if wanted.name == "pixel_values":
        return np.zeros((1, 3, *numbers["size"]), dtype)
    if wanted.name == "input_features":
        frames = numbers["window_samples"] // numbers["hop_length"] + 1
        return np.zeros((1, 4 if numbers["is_fused"] else 1, frames, numbers["mel_count"]), dtype)
    if wanted.name == "is_longer":
        return np.ones((1, 1), np.bool_)
    length = int(numbers.get("fixed_length") or _TOKENS)
    return np.ones((1, length), dtype)


_DTYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float16)": np.float16}
