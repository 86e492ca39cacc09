"""One step with tritonclient, in a process of its own: it and our servers put the protocol's names into one pool.

    python triton.py STEP < asked.json

Prints what came of the step as JSON. Imports nothing of ours.
"""

from __future__ import annotations

import base64
import json
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

_TIMEOUT_S = 20.0


def main(step: str) -> None:
    asked = json.load(sys.stdin)
    with triton.InferenceServerClient(asked.pop("address")) as client:
        try:
            answer = _STEPS[step](client, **asked)
        except InferenceServerException as error:
            answer = {"code": str(error.status()).removeprefix("StatusCode."), "message": error.message()}
    print(json.dumps(answer))


# Any, here and below: tritonclient has no types, and what is asked and answered is JSON.
def _infer(client: Any, model: str, inputs: Any, outputs: Any = None, options: Any = None) -> Any:
    wanted = [triton.InferRequestedOutput(name) for name in outputs] if outputs else None
    result = client.infer(model, _tensors(inputs), outputs=wanted, request_id="7", **(options or {}))
    answer = result.get_response()
    return {"id": answer.id, "outputs": {each.name: result.as_numpy(each.name).tolist() for each in answer.outputs}}


def _about(client: Any, model: str) -> Any:
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model),
        "other_ready": client.is_model_ready("none-such"),
        "server": client.get_server_metadata(as_json=True),
        "model": client.get_model_metadata(model, as_json=True),
        "index": client.get_model_repository_index(as_json=True),
    }


def _stream(client: Any, models: Any, inputs: Any) -> Any:
    """Returns an answer a model: its outputs, or the message of its error."""
    came: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: came.put((result, error)))
    try:
        for model in models:
            client.async_stream_infer(model, _tensors(inputs))
        answers = [came.get(timeout=_TIMEOUT_S) for _ in models]
    finally:
        client.stop_stream()
    return [
        error.message()
        if error is not None
        else {each.name: result.as_numpy(each.name).tolist() for each in result.get_response().outputs}
        for result, error in answers
    ]


def _load(client: Any, model: str) -> Any:
    client.load_model(model)
    client.unload_model(model)
    gone = {"gone": client.is_model_ready(model)}
    client.load_model(model)
    return gone


def _tensors(inputs: Any) -> Any:
    """Returns tensors of BYTES for lists of base64, of FP32 for rows of numbers."""
    return [_tensor(name, values) for name, values in inputs.items()]


def _tensor(name: str, values: Any) -> Any:
    if isinstance(values[0], str):
        array, datatype = np.array([base64.b64decode(each) for each in values], object), "BYTES"
    else:
        array, datatype = np.array(values, np.float32), "FP32"
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


_STEPS: dict[str, Any] = {"infer": _infer, "about": _about, "stream": _stream, "load": _load}

if __name__ == "__main__":
    main(sys.argv[1])
