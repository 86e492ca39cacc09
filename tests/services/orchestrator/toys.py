"""Toy models: arithmetic in place of learning, so that a test can say what must come out."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.v1 import content_pb2, model_pb2

DIM = 8
SPACE = "toy@1"


def direction(key: str | bytes) -> NDArray[np.float32]:
    """Returns the (DIM,) unit vector of a text, picture or sound: the same for the same bytes, in any modality."""
    raw = key.encode() if isinstance(key, str) else key
    vector = np.random.default_rng(zlib.crc32(raw)).standard_normal(DIM).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def model(
    name: str,
    modality: content_pb2.Modality.ValueType = content_pb2.MODALITY_UNSPECIFIED,
    task: model_pb2.ModelTask.ValueType = model_pb2.MODEL_TASK_ENCODE,
    **fields: Any,
) -> model_pb2.Model:
    """Returns a ready model of the toy space. Any: whatever fields of Model a test wants otherwise."""
    message = model_pb2.Model(
        name=name,
        version="1",
        task=task,
        modality=modality,
        space=SPACE,
        dim=DIM,
        state=model_pb2.MODEL_STATE_READY,
        is_default=True,
        limits=model_pb2.Limits(max_items=256),
    )
    message.MergeFrom(model_pb2.Model(**fields))
    return message


def softmax_calibration(scale: float = 10.0) -> model_pb2.Calibration:
    return model_pb2.Calibration(logit_scale=scale, activation=model_pb2.ACTIVATION_SOFTMAX)


def sigmoid_calibration(scale: float = 10.0, bias: float = -5.0) -> model_pb2.Calibration:
    return model_pb2.Calibration(logit_scale=scale, logit_bias=bias, activation=model_pb2.ACTIVATION_SIGMOID)


PREDICTOR = model("toy-head", task=model_pb2.MODEL_TASK_PREDICT, labels=["high"])
