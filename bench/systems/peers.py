"""The peers: how each is started with the same model file, how it is called, and what its sweep tries."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.load.calls import Target
from bench.systems.messages import infer_request, infer_response
from bench.systems.system import Command, Place, Setting, System

_TEXTS = frozenset({"short", "mixed"})
_PICTURES = frozenset({"short", "mixed", "image"})
_CODE = Path(__file__).parent / "servers"
_SITE = Path("lib/python3.11/site-packages")
_BASE = ("onnxruntime", "tokenizers", "pillow", "numpy")
_INFER = "/inference.GRPCInferenceService/ModelInfer"


def peers() -> Sequence[System]:
    """Returns the peers; the first setting of each is the one that did best over all where we looked."""
    return [
        System("mosec", _PICTURES, _swept(workers=(2, 1), batch=(8, 32, 1), wait_ms=(1, 10)), _mosec,
               _utf8, _float32, ("mosec", *_BASE)),
        System("Triton", _PICTURES, _swept(instances=(2,), batch=(1, 8, 32), wait_us=(0, 1_000)), _triton,
               _infer, infer_response, ("nvidia-pytriton", *_BASE), start_s=90, has_deadlines=True),
        System("LitServe", _PICTURES, _swept(workers=(2, 1), batch=(8, 32, 1), wait_ms=(1, 10)), _litserve,
               _json, _litserve_vector, ("litserve", *_BASE)),
        System("infinity", _TEXTS, _swept(batch=(32, 8), threads=(2, 1)), _infinity,
               _openai, _openai_vector, ("infinity-emb[server,optimum]", *_BASE), start_s=120),
        System("MLServer", _TEXTS, _swept(workers=(2, 0), batch=(1, 8, 32), wait_ms=(1,)), _mlserver,
               _infer, infer_response, ("mlserver", "uvloop<0.22", *_BASE), start_s=90, has_deadlines=True),
    ]  # fmt: skip


def _swept(**choices: Sequence[int]) -> list[Setting]:
    """Returns every combination; a wait means nothing where a batch holds one item."""
    settings: dict[tuple[tuple[str, int], ...], Setting] = {}
    for values in product(*choices.values()):
        setting = dict(zip(choices, values, strict=True))
        if setting.get("batch") == 1:
            setting = {name: value for name, value in setting.items() if not name.startswith("wait")}
        settings[tuple(setting.items())] = setting
    return list(settings.values())


def _mosec(place: Place, setting: Setting, kind: str) -> Sequence[Command]:
    numbers = [str(setting[name]) for name in ("workers", "batch")] + [str(setting.get("wait_ms", 0))]
    flags = [
        "--port",
        str(place.port),
        "--address",
        "127.0.0.1",
        "--path",
        str(place.folder / "sockets"),
        "--log-level",
        "warning",
    ]
    program = [str(place.python), str(_CODE / "mosec_server.py")]
    return [Command([*program, *flags], {"BENCH": "|".join([str(_folder(place, kind)), kind, *numbers])})]


def _folder(place: Place, kind: str) -> Path:
    return place.models.vision if kind == "image" else place.models.text


def _utf8(port: int, kind: str, payloads: Sequence[bytes]) -> Target:
    return Target("http", port, "/inference", tuple(payloads), content_type="text/plain")


def _float32(body: bytes) -> NDArray[np.float32]:
    return np.frombuffer(body, np.float32)


def _litserve(place: Place, setting: Setting, kind: str) -> Sequence[Command]:
    numbers = [setting["workers"], setting["batch"], setting.get("wait_ms", 0)]
    program = [str(place.python), str(_CODE / "litserve_server.py"), str(_folder(place, kind)), kind, str(place.port)]
    return [Command([*program, *map(str, numbers)], cwd=place.folder)]


def _json(port: int, kind: str, payloads: Sequence[bytes]) -> Target:
    given = [base64.b64encode(each) if kind == "image" else each for each in payloads]
    bodies = tuple(json.dumps({"input": each.decode()}).encode() for each in given)
    return Target("http", port, "/predict", bodies)


def _litserve_vector(body: bytes) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(json.loads(body)["vector"]), np.float32)


def _infinity(place: Place, setting: Setting, kind: str) -> Sequence[Command]:
    export = place.folder / "model"
    shutil.copytree(place.models.text, export)  # it writes into the folder
    (export / "onnx" / "model.onnx").rename(export / "model.onnx")  # optimum 2 wants a name, infinity gives a path
    flags = {
        "--model-id": ".", "--served-model-name": "minilm", "--engine": "optimum", "--device": "cpu",
        "--batch-size": str(setting["batch"]), "--port": str(place.port), "--host": "127.0.0.1",
        "--log-level": "error", "--pooling-method": "mean", "--no-model-warmup": "",
    }  # fmt: skip
    program = [str(place.python.parent / "infinity_emb"), "v2"]
    environ = {
        "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0",
        "OMP_NUM_THREADS": str(setting["threads"]), "HF_HOME": str(place.folder / "hub"),
    }  # fmt: skip
    return [Command([*program, *(part for pair in flags.items() for part in pair if part)], environ, export)]


def _openai(port: int, kind: str, payloads: Sequence[bytes]) -> Target:
    bodies = tuple(
        json.dumps({"model": "minilm", "input": each.decode(), "encoding_format": "base64"}).encode()
        for each in payloads
    )
    return Target("http", port, "/embeddings", bodies)


def _openai_vector(body: bytes) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(json.loads(body)["data"][0]["embedding"]), np.float32)


def _mlserver(place: Place, setting: Setting, kind: str) -> Sequence[Command]:
    http, metrics = place.other_ports[:2]
    server = {
        "host": "127.0.0.1", "http_port": http, "grpc_port": place.port, "metrics_port": metrics, "debug": False,
        "parallel_workers": setting["workers"], "use_structured_logging": False,
        "metrics_dir": str(place.folder), "environments_dir": str(place.folder),
    }  # fmt: skip
    batches = {} if setting["batch"] == 1 else {
        "max_batch_size": setting["batch"], "max_batch_time": setting["wait_ms"] / 1000}  # fmt: skip
    model = {"name": "minilm", "implementation": "mlserver_model.TextEncoder",
             "parameters": {"uri": str(place.models.text)}, **batches}  # fmt: skip
    for name in ("mlserver_model.py", "encoder.py"):
        shutil.copy(_CODE / name, place.folder)
    (place.folder / "settings.json").write_text(json.dumps(server))
    (place.folder / "model-settings.json").write_text(json.dumps(model))
    program = [str(place.python.parent / "mlserver"), "start", "."]
    return [Command(program, {"PYTHONPATH": str(place.folder)}, place.folder)]


def _infer(port: int, kind: str, payloads: Sequence[bytes]) -> Target:
    return Target("grpc", port, _INFER, tuple(infer_request("minilm", "text", [each]) for each in payloads))


def _triton(place: Place, setting: Setting, kind: str) -> Sequence[Command]:
    home = place.python.parents[1] / _SITE / "pytriton" / "tritonserver"
    repository = place.folder / "repository"
    model = repository / "minilm"
    (model / "1").mkdir(parents=True)
    shutil.copy(_CODE / "triton_model.py", model / "1" / "model.py")
    (model / "config.pbtxt").write_text(_triton_config(place, setting, kind))
    shutil.copytree(home / "backends" / "python", place.folder / "backends" / "python")
    shutil.copy(
        home / "python_backend_stubs" / "3.11" / "triton_python_backend_stub", place.folder / "backends" / "python"
    )
    flags = {
        "--model-repository": repository, "--backend-directory": place.folder / "backends",
        "--grpc-port": place.port, "--http-port": place.other_ports[0], "--metrics-port": place.other_ports[1],
        "--grpc-address": "127.0.0.1", "--http-address": "127.0.0.1", "--log-info": "false",
        "--backend-config": f"python,shm-region-prefix-name=bench{place.port}",
    }  # fmt: skip
    libraries = [home / "external_libs", place.python.parents[1] / _SITE / "nvidia_pytriton.libs"]
    environ = {
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "PYTHONPATH": str(place.python.parents[1] / _SITE),
        "PATH": f"{place.python.parent}:/usr/bin:/bin",
    }
    argv = [str(home / "bin" / "tritonserver"), *(f"{name}={value}" for name, value in flags.items())]
    return [Command(argv, environ, place.folder)]


def _triton_config(place: Place, setting: Setting, kind: str) -> str:
    wait = f"max_queue_delay_microseconds: {setting['wait_us']}" if "wait_us" in setting else ""
    batching = f"dynamic_batching {{ {wait} }}" if setting["batch"] > 1 else ""
    return f"""
name: "minilm"
backend: "python"
max_batch_size: {setting["batch"]}
input [ {{ name: "text" data_type: TYPE_STRING dims: [ 1 ] }} ]
output [ {{ name: "vectors" data_type: TYPE_FP32 dims: [ 384 ] }} ]
instance_group [ {{ count: {setting["instances"]} kind: KIND_CPU }} ]
{batching}
parameters [
  {{ key: "folder" value: {{ string_value: "{_folder(place, kind)}" }} }},
  {{ key: "kind" value: {{ string_value: "{kind}" }} }},
  {{ key: "code" value: {{ string_value: "{_CODE}" }} }}
]
"""
