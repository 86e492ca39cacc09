"""A process of its own for tritonclient: it and our servers register the protocol's names in one pool of descriptors.

Reads a list of steps as JSON from stdin, does them one after the other against the address in argv, and prints what came
of each as a list of JSON: a value, or {"error": status, "message": text}. Imports nothing of ours.
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
Step = dict[str, Any]  # Any, here and below: JSON


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        print(json.dumps([_done(client, step) for step in json.load(sys.stdin)]))


def _done(client: Any, step: Step) -> Any:
    try:
        return _STEPS[step["do"]](client, step)
    except InferenceServerException as error:
        return _error(error)


def _error(error: Any) -> Any:
    return {"error": (error.status() or "").removeprefix("StatusCode."), "message": error.message()}


def _infer(client: Any, step: Step) -> Any:
    return _vectors(client.infer(client_timeout=_TIMEOUT_S, headers=step.get("headers"), **_asked(step)))


def _stream(client: Any, step: Step) -> Any:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)), headers=step.get("headers"))
    try:
        for each in step["requests"]:
            client.async_stream_infer(**_asked(each))
        came = [answers.get(timeout=_TIMEOUT_S) for _ in step["requests"]]
    finally:
        client.stop_stream()
    return [_error(error) if error is not None else _vectors(result) for result, error in came]


def _asked(step: Step) -> Step:
    taken = ("model_version", "priority", "timeout", "parameters", "request_id")
    outputs = [triton.InferRequestedOutput(name) for name in step["outputs"]] if "outputs" in step else None
    inputs = [_input(name, values) for name, values in step["inputs"].items()]
    return {"model_name": step["model"], "inputs": inputs, "outputs": outputs} | {
        name: step[name] for name in taken if name in step
    }


def _input(name: str, values: Any) -> Any:
    """Returns a tensor: of BYTES for a list of base64, else of [datatype, numbers]."""
    if values and values[0] in ("FP32", "INT64"):
        array = np.array(values[1], np.float32 if values[0] == "FP32" else np.int64)
        datatype = values[0]
    else:
        array, datatype = np.array([base64.b64decode(each) for each in values], object), "BYTES"
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def _vectors(result: Any) -> Any:
    answer = result.get_response()
    facts = {"id": answer.id, "model": answer.model_name, "version": answer.model_version}
    return facts | {"outputs": {each.name: result.as_numpy(each.name).tolist() for each in answer.outputs}}


def _json(method: str, *names: str) -> Any:
    def ask(client: Any, step: Step) -> Any:
        wants = {"as_json": True} if method.endswith(("metadata", "index")) else {}
        return getattr(client, method)(*(step[name] for name in names), headers=step.get("headers"), **wants)

    return ask


_STEPS = {
    "infer": _infer,
    "stream": _stream,
    "live": _json("is_server_live"),
    "ready": _json("is_server_ready"),
    "model ready": _json("is_model_ready", "model"),
    "server metadata": _json("get_server_metadata"),
    "model metadata": _json("get_model_metadata", "model"),
    "index": _json("get_model_repository_index"),
    "load": _json("load_model", "model"),
    "unload": _json("unload_model", "model"),
}

if __name__ == "__main__":
    main(sys.argv[1])
