"""An encoder as a model of Triton's Python backend; it is copied into the model repository."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import triton_python_backend_utils as pb  # type: ignore[import-not-found]  # of the backend's stub


class TritonPythonModel:
    """BYTES (n, 1) in, FP32 (n, dim) out; the requests of one batch are joined."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the model; its folder, the kind of inputs and the folder of the encoder's code are parameters."""
        parameters = json.loads(args["model_config"])["parameters"]
        sys.path.insert(0, parameters["code"]["string_value"])
        from encoder import open_encoder  # type: ignore[import-not-found]  # in the peer's environment

        self._encode = open_encoder(parameters["folder"]["string_value"], parameters["kind"]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Returns one response a request. Any: Triton's own types."""
        inputs = [pb.get_input_tensor_by_name(each, "text").as_numpy() for each in requests]
        given = [one for each in inputs for one in each[:, 0]]
        rows = np.split(self._encode(given), np.cumsum([len(each) for each in inputs])[:-1])
        return [pb.InferenceResponse([pb.Tensor("vectors", each)]) for each in rows]
