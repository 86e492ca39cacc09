"""What runs a graph follows from what was asked for, what is installed, and what the package says."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.errors import FailedPrecondition
from shared.inference.features import Features
from shared.inference.model import Model
from shared.inference.package import open_package
from shared.inference.providers import (
    Choice,
    Execution,
    batch_size,
    choose,
    cpu_has_amx,
    installed_providers,
    read_execution,
)
from shared.inference.session import Session
from tests.conformance import exports
from tests.packages import bridge

SHIPPED = Path(__file__).parents[3] / "models"
CPU = frozenset({"cpu"})
OPENVINO = frozenset({"cpu", "openvino"})
NVIDIA = frozenset({"cpu", "cuda", "tensorrt"})

needs_openvino = pytest.mark.skipif("openvino" not in installed_providers(), reason="needs onnxruntime-openvino")


def asked(providers: str, precision: str, installed: frozenset[str], *, has_amx: bool = False) -> Execution:
    return read_execution(providers, precision, 2, installed=installed, has_amx=has_amx)


@pytest.mark.parametrize(
    ("providers", "precision", "installed", "said"),
    [
        ("gpu", "auto", CPU, "SENSORIUM_PROVIDERS: 'gpu' is none of cpu, openvino, cuda, tensorrt"),
        ("openvino", "auto", CPU, "has cpu, but not openvino; install it with: .*onnxruntime-openvino.*`openvino`"),
        ("cuda,cpu", "auto", CPU, "not cuda; install it with: .*onnxruntime-gpu.*`cuda`"),
        ("tensorrt", "auto", CPU, "not tensorrt; install it with: .*onnxruntime-gpu.*tensorrt-cu12"),
        ("cpu", "fp8", CPU, "SENSORIUM_PRECISION: 'fp8' is none of auto, fp32, bf16"),
        ("cpu", "bf16", CPU, "bf16 needs the provider openvino or tensorrt; cpu cannot .*onnxruntime-openvino"),
        ("cuda", "bf16", NVIDIA, "bf16 needs the provider openvino or tensorrt; cuda cannot"),
    ],
)
def test_what_this_machine_lacks_is_refused_and_the_message_says_what_to_install(
    providers: str, precision: str, installed: frozenset[str], said: str
) -> None:
    with pytest.raises(FailedPrecondition, match=said):
        asked(providers, precision, installed)


@pytest.mark.parametrize(
    ("execution", "stated", "providers", "precision"),
    [
        (asked("", "auto", CPU), "", ["cpu"], "fp32"),
        (asked("cpu", "auto", CPU, has_amx=True), "", ["cpu"], "fp32"),
        (asked("cpu", "auto", OPENVINO), "", ["cpu"], "fp32"),
        (asked("cpu", "auto", OPENVINO, has_amx=True), "", ["openvino", "cpu"], "bf16"),
        (asked("cpu", "auto", OPENVINO, has_amx=True), "fp32", ["cpu"], "fp32"),
        (asked("cpu", "auto", OPENVINO, has_amx=True), "int8", ["cpu"], "int8"),
        (asked("cpu", "auto", OPENVINO), "bf16", ["openvino", "cpu"], "bf16"),
        (asked("cpu", "auto", CPU), "bf16", ["cpu"], "fp32"),
        (asked("cpu", "fp32", OPENVINO, has_amx=True), "bf16", ["cpu"], "fp32"),
        (asked("cpu", "bf16", OPENVINO), "", ["openvino", "cpu"], "bf16"),
        (asked("cpu", "bf16", OPENVINO), "fp32", ["cpu"], "fp32"),
        (asked("openvino", "fp32", OPENVINO), "", ["openvino", "cpu"], "fp32"),
        (asked("cpu, openvino", "fp32", OPENVINO), "", ["cpu"], "fp32"),
        (asked("tensorrt,cuda", "auto", NVIDIA, has_amx=True), "", ["tensorrt", "cuda", "cpu"], "fp32"),
        (asked("tensorrt,cuda", "bf16", NVIDIA), "", ["tensorrt", "cuda", "cpu"], "bf16"),
        (asked("cuda", "auto", NVIDIA, has_amx=True), "", ["cuda", "cpu"], "fp32"),
    ],
)
def test_the_package_and_the_server_choose_together(
    execution: Execution, stated: str, providers: list[str], precision: str
) -> None:
    choice = choose(execution, stated)
    assert (list(choice.providers), choice.precision) == (providers, precision)


def test_bf16_that_was_asked_for_on_a_cpu_without_amx_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sensorium.models"):
        asked("cpu", "bf16", OPENVINO, has_amx=True)
        assert not caplog.records
        asked("cpu", "bf16", OPENVINO)
    assert "without AMX" in caplog.text


@pytest.mark.parametrize(("precision", "hint"), [("bf16", "bf16"), ("fp32", "f32"), ("int8", "f32")])
def test_openvino_is_told_the_precision_and_a_stream_a_worker(precision: Any, hint: str) -> None:
    ((name, options), cpu) = Choice(("openvino", "cpu"), precision, workers=3).specs
    assert (name, cpu) == ("OpenVINOExecutionProvider", ("CPUExecutionProvider", {}))
    config = json.loads(options["load_config"])["CPU"]
    assert config["INFERENCE_PRECISION_HINT"] == hint
    assert (config["NUM_STREAMS"], config["INFERENCE_NUM_THREADS"]) == ("3", "3")
    assert int(config["CPU_RUNTIME_CACHE_CAPACITY"]) > 5000


def test_cuda_keeps_to_fp32_and_tensorrt_takes_bf16_and_its_cache_where_they_are_wanted() -> None:
    specs = dict(Choice(("tensorrt", "cuda", "cpu"), "bf16", engine_cache="/var/engines").specs)
    assert specs["CUDAExecutionProvider"]["use_tf32"] == "0"
    assert specs["TensorrtExecutionProvider"] == {
        "trt_bf16_enable": "1",
        "trt_engine_cache_enable": "1",
        "trt_timing_cache_enable": "1",
        "trt_engine_cache_path": "/var/engines",
        "trt_timing_cache_path": "/var/engines",
    }
    assert dict(Choice(("tensorrt", "cpu")).specs)["TensorrtExecutionProvider"] == {}


def test_amx_is_known_by_the_flag_of_bf16(tmp_path: Path) -> None:
    for flags, expected in (("fpu avx512_bf16 amx_tile amx_bf16", True), ("fpu avx512_bf16 amx_tile", False)):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
        assert cpu_has_amx(tmp_path / "cpuinfo") is expected
    assert not cpu_has_amx(tmp_path / "none")


@pytest.mark.parametrize(
    ("count", "most", "size"),
    [(1, 64, 1), (3, 64, 4), (33, 64, 64), (65, 500, 128), (9, 12, 12), (1, 1, 1), (5, 4, 5)],
)
def test_batches_are_filled_up_to_few_sizes_within_the_models_limit(count: int, most: int, size: int) -> None:
    assert batch_size(count, most) == size


def test_a_provider_that_cannot_be_started_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    package = open_package(bridge(tmp_path, "a@1", "b@1", np.eye(4, 3, dtype=np.float32)))
    if "cuda" in installed_providers():
        pytest.skip("needs an onnxruntime without CUDA")
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(FailedPrecondition, match="the provider cuda cannot be started"),
    ):
        Session(package, "model.onnx", "projected", Choice(("cuda", "cpu")))
    capfd.readouterr()  # onnxruntime prints which libraries of CUDA it misses


def test_the_fingerprint_says_the_precision_where_it_is_not_fp32(tmp_path: Path) -> None:
    package = open_package(bridge(tmp_path, "a@1", "b@1", np.eye(4, 3, dtype=np.float32)))
    assert package.running("fp32", "openvino").fingerprint == package.fingerprint
    assert package.running("bf16", "openvino").fingerprint != package.fingerprint


def test_a_manifest_may_pin_its_precision_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    folder = bridge(tmp_path, "a@1", "b@1", np.eye(4, 3, dtype=np.float32))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "precision": "int8"}))
    package = open_package(folder)
    assert (package.manifest.precision, package.precision, Model(package).package.precision) == ("int8",) * 3
    (folder / "manifest.json").write_text(json.dumps({**manifest, "precision": "int3"}))
    with pytest.raises(FailedPrecondition, match='field `precision`: expected one of bf16, fp32, int8, got "int3"'):
        open_package(folder)


def text_row(*ids: int) -> Features:
    array = np.array(ids, np.int64)
    names = ("attention_mask", "token_type_ids", "position_ids")
    ones = dict.fromkeys(names, np.ones_like(array)) | {"position_ids": np.arange(array.size)}
    return Features({"input_ids": array, **ones}, array.size, array.size)


PADS = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids", "position_ids"), 0)
ROWS = [text_row(2, 40, 7, 90, 3), text_row(2, 12, 3), text_row(2, 300, 301, 302, 77, 5, 6, 8, 9, 3)]


def unit(rows: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@needs_openvino
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999999), ("bf16", 0.999)])
def test_openvino_gives_the_vectors_of_the_cpu(precision: str, least: float) -> None:
    package = open_package(SHIPPED / "tiny-text" / "1")
    model = Model(package, PADS, 8, execution=asked("openvino", precision, OPENVINO))
    model.warm_up(ROWS[0])
    assert (model.package.precision, model.package.provider) == (precision, "openvino")
    reference = unit(Model(package, PADS, 8).compute(ROWS))
    together, alone = unit(model.compute(ROWS)), unit(np.concatenate([model.compute([row]) for row in ROWS]))
    assert together.shape == reference.shape
    assert (together * reference).sum(1).min() >= least
    assert (together * alone).sum(1).min() >= least


@needs_openvino
def test_a_graph_that_crashes_the_provider_runs_on_the_cpu_unless_it_was_demanded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = exports.add(tmp_path, "st_lasttoken")
    capsys.readouterr()
    package = open_package(tmp_path / name / "1")
    model = Model(package, PADS, 8, execution=asked("cpu", "auto", OPENVINO, has_amx=True))
    assert model.package.precision == "bf16"
    model.warm_up(text_row(1, 2, 3))
    assert (model.package.precision, model.package.provider) == ("fp32", "cpu")
    assert model.package.fingerprint == package.fingerprint
    demanded = Model(package, PADS, 8, execution=asked("openvino", "fp32", OPENVINO))
    with pytest.raises(FailedPrecondition, match="fails in a trial with openvino: crashes with SIGSEGV"):
        demanded.warm_up(text_row(1, 2, 3))
