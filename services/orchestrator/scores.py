"""Cosines, and how a model's calibration turns them into probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sensorium.v1 import model_pb2
from sensorium.v1.model_pb2 import Calibration

Floats = NDArray[np.float32]


def normalized(rows: Floats) -> Floats:
    """Returns (…, dim) vectors scaled to length 1; NaN stays NaN, and a vector of zeros becomes NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
        return np.asarray(rows / lengths, np.float32)


def cosines(queries: Floats, candidates: Floats) -> Floats:
    """Returns the (q, c) float32 cosines, from -1 to 1, of (q, dim) and (c, dim) vectors; NaN where one has NaN."""
    with np.errstate(invalid="ignore"):  # NaN is meant: it marks what failed
        scores = normalized(queries) @ normalized(candidates).T  # (q, c)
    return np.asarray(np.clip(scores, -1.0, 1.0), np.float32)  # rounding may leave 1.0000001


def probabilities(scores: Floats, calibrations: Sequence[Calibration | None]) -> Floats:
    """Returns the (q, c) float32 probabilities of (q, c) cosines, each row by the calibration of its query.

    Softmax as in CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020, figure 3), or sigmoid as in SigLIP (Zhai
    et al. 2023, https://arxiv.org/abs/2303.15343, algorithm 1), as the model was trained. NaN where the score is NaN,
    and in rows without a calibration, or with a sigmoid one that lacks its bias.
    """
    result = np.full_like(scores, np.nan)
    for row, calibration in enumerate(calibrations):
        if calibration is None:
            continue
        if calibration.activation != model_pb2.ACTIVATION_SIGMOID:
            result[row] = softmax(calibration.logit_scale * scores[row])
        elif calibration.HasField("logit_bias"):
            result[row] = sigmoid(calibration.logit_scale * scores[row] + calibration.logit_bias)
    return result


def softmax(logits: Floats) -> Floats:
    """Returns (c,) probabilities that add up to 1; a NaN takes no part and stays NaN."""
    if np.isnan(logits).all():
        return logits
    weights = np.exp(logits - np.nanmax(logits))  # the largest is 1: nothing overflows
    return np.asarray(weights / np.nansum(weights), np.float32)


def sigmoid(logits: Floats) -> Floats:
    """Returns (c,) probabilities, each by itself; NaN stays NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.exp(-np.logaddexp(0.0, -logits)), np.float32)  # 1 / (1 + exp(-x)), without overflow
