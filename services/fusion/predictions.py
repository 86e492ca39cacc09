"""From logits to the probabilities of classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import SensoriumError
from sensorium.v1 import fusion_pb2
from shared.inference.manifest import Manifest
from shared.serving.items import failed_item


def prediction(
    logits: NDArray[np.float32] | SensoriumError, manifest: Manifest, top_k: int
) -> fusion_pb2.PredictResult:
    """Returns the `top_k` likeliest classes (0: all) by the logits (labels,) of a predictor, or the error."""
    if isinstance(logits, SensoriumError):
        return fusion_pb2.PredictResult(error=failed_item(logits))
    probabilities = _probabilities(logits.astype(np.float64), manifest)
    best = np.argsort(-probabilities, kind="stable")[: top_k or None]
    classes = [
        fusion_pb2.ClassProbability(label=manifest.labels[at], index=int(at), probability=float(probabilities[at]))
        for at in best
    ]
    return fusion_pb2.PredictResult(prediction=fusion_pb2.Prediction(classes=classes))


def _probabilities(logits: NDArray[np.float64], manifest: Manifest) -> NDArray[np.float64]:
    """Returns (labels,): summing to 1, or of classes that do not exclude each other each between 0 and 1."""
    known = manifest.calibration
    if known is not None:
        logits = known.logit_scale * logits + (known.logit_bias or 0.0)
        if known.activation == "sigmoid":
            return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())
