"""Which of onnxruntime's execution providers run a graph, and in what precision: what was asked for, what is there."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import onnxruntime

from sensorium.errors import FailedPrecondition, Reason

_log = logging.getLogger("sensorium.models")

PROVIDERS: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
GPU = ("cuda", "tensorrt")

Wish = Literal["auto", "fp32", "bf16"]  # of a server
Precision = Literal["fp32", "bf16", "int8"]  # of a model that runs; int8 is in the graph, the others are chosen

# Those that compute a graph of fp32 in bf16, and those that compile a graph anew for each shape: the same two.
_CAN_BF16 = _COMPILES_SHAPES = ("openvino", "tensorrt")

# OpenVINO keeps this many compiled primitives of each kind, of which a shape takes some tens. A text model of 512
# tokens has 64 lengths × 7 sizes of batch; OpenVINO's default of 5000 would forget them, at 10 to 30 ms a shape.
_CACHED_PRIMITIVES = 50_000

COMPILED_MULTIPLE = 8  # of the lengths that such a provider sees
# The sizes of batch that it sees; beyond them, multiples of the last.
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)

_INSTALL = "pip uninstall onnxruntime && pip install --force-reinstall --no-deps {package}   (extra `{extra}`)"
_WHEELS = {"cpu": "onnxruntime", "openvino": "onnxruntime-openvino", "cuda": "onnxruntime-gpu"}

Spec = tuple[str, Mapping[str, str]]  # a provider as onnxruntime takes it: its name and its options


@dataclass(frozen=True, slots=True)
class Execution:
    """How a server runs its graphs; see `read_execution`.

    providers: keys of PROVIDERS, the preferred first.
    installed: those that the installed onnxruntime has.
    workers: how many batches run at once, a CPU each.
    engine_cache: the folder where TensorRT keeps compiled engines; empty for none.
    lone_threads: what a batch that runs alone may have, on the CPU's provider.
    """

    providers: Sequence[str] = ("cpu",)
    precision: Wish = "fp32"
    workers: int = 1
    installed: frozenset[str] = frozenset({"cpu"})
    has_amx: bool = False
    engine_cache: str = ""
    lone_threads: int = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """What one package's graph is to run with.

    providers: keys of PROVIDERS, the preferred first; the CPU's is the last and takes what the others leave.
    is_demanded: whether somebody asked for it, so that a graph which does not run with it is refused; else such a graph
        runs on the CPU in fp32.
    """

    providers: Sequence[str] = ("cpu",)
    precision: Precision = "fp32"
    is_demanded: bool = True
    workers: int = 1
    engine_cache: str = ""

    @property
    def specs(self) -> Sequence[Spec]:
        """The providers as `InferenceSession` takes them."""
        return [(PROVIDERS[name], self._options(name)) for name in self.providers]

    def _options(self, name: str) -> Mapping[str, str]:
        if name == "openvino":
            return {"device_type": "CPU", "load_config": _openvino_config(self.precision, self.workers)}
        if name == "cuda":
            # TF32 keeps 10 bits of a factor: that is not fp32. A search for the best would be made for each shape.
            return {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
        if name == "tensorrt":
            bf16 = {"trt_bf16_enable": "1"} if self.precision == "bf16" else {}
            cache = {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"} if self.engine_cache else {}
            where = {f"trt_{kind}_cache_path": self.engine_cache for kind in ("engine", "timing") if cache}
            return {**bf16, **cache, **where}
        return {}


ON_CPU = Choice()


def read_execution(
    providers: str,
    precision: str,
    workers: int,
    engine_cache: str = "",
    *,
    installed: frozenset[str] | None = None,
    has_amx: bool | None = None,
) -> Execution:
    """Returns how a server runs its graphs.

    providers: keys of PROVIDERS, comma-separated; empty for the CPU's.
    installed, has_amx: of this machine, unless they are given.

    Raises:
        FailedPrecondition: a provider is unknown or not installed, or none of them can compute in the precision; the
            message says what to install.
    """
    names = [name.strip() for name in providers.split(",") if name.strip()] or ["cpu"]
    here = installed_providers() if installed is None else installed
    for name in names:
        if name not in PROVIDERS:
            raise _refusal("SENSORIUM_PROVIDERS", f"{name!r} is none of {', '.join(PROVIDERS)}")
        if name not in here:
            raise _refusal(
                "SENSORIUM_PROVIDERS",
                f"the installed onnxruntime has {_listed(here)}, but not {name}; install it with: {_how_to_get(name)}",
            )
    if precision not in ("auto", "fp32", "bf16"):
        raise _refusal("SENSORIUM_PRECISION", f"{precision!r} is none of auto, fp32, bf16")
    wish = cast("Wish", precision)  # cast: mypy does not narrow a str by `in`
    execution = Execution(names, wish, workers, here, cpu_has_amx() if has_amx is None else has_amx, engine_cache)
    if wish == "bf16":
        _check_bf16(execution)
    return execution


def choose(execution: Execution, stated: str) -> Choice:
    """Returns what a package runs with.

    stated: the manifest's `precision`: `fp32` pins it, `bf16` asks for it where that can be had, `int8` says that the
        graph was quantized, so that nothing else is asked of it; empty leaves it to the server.
    """
    able = _bf16_provider(execution)
    wants_bf16 = execution.precision == "bf16" or (
        execution.precision == "auto" and (stated == "bf16" or (able == "openvino" and execution.has_amx))
    )
    precision: Precision = "bf16" if wants_bf16 and able else "fp32"
    if stated in ("fp32", "int8"):
        precision = cast("Precision", stated)  # cast: mypy does not narrow a str by `in`
    first = [able] if precision == "bf16" else []
    names = list(dict.fromkeys([*first, *execution.providers]))
    names = [*names[: names.index("cpu")], "cpu"] if "cpu" in names else [*names, "cpu"]
    is_demanded = names[0] == execution.providers[0] or execution.precision == "bf16"
    return Choice(names, precision, is_demanded, execution.workers, execution.engine_cache)


def batch_size(count: int, most: int) -> int:
    """Returns the size of batch that `count` rows are filled up to, so that a provider sees few.

    most: the largest batch that the model takes.
    """
    size = next((size for size in _BATCH_SIZES if size >= count), -(-count // _BATCH_SIZES[-1]) * _BATCH_SIZES[-1])
    return max(count, min(size, most))


def compiles_shapes(provider: str) -> bool:
    """Whether a provider compiles a graph for each shape, so that shapes should be few."""
    return provider in _COMPILES_SHAPES


def installed_providers() -> frozenset[str]:
    """Returns the providers that the installed onnxruntime was built with, as keys of PROVIDERS."""
    available = set(onnxruntime.get_available_providers())
    return frozenset(name for name, full in PROVIDERS.items() if full in available)


def cpu_has_amx(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Returns whether the CPU multiplies matrices of bf16 in AMX tiles."""
    try:
        return "amx_bf16" in cpuinfo.read_text().split()
    except OSError:
        return False


def _check_bf16(execution: Execution) -> None:
    able = _bf16_provider(execution)
    if not able:
        raise _refusal(
            "SENSORIUM_PRECISION",
            f"bf16 needs the provider openvino or tensorrt; {_listed(execution.providers)} cannot compute a graph of "
            f"fp32 in it. Install the first with: {_how_to_get('openvino')}",
        )
    if able == "openvino" and not execution.has_amx:
        _log.warning("bf16 on a CPU without AMX may be no faster than fp32", extra={"f": {"precision": "bf16"}})


def _bf16_provider(execution: Execution) -> str:
    """Returns the provider that computes in bf16; empty where there is none.

    OpenVINO's need not be asked for by name: what is for the CPU runs on the CPU with it, too.
    """
    listed = next((name for name in execution.providers if name in _CAN_BF16), "")
    return listed or ("openvino" if execution.providers[0] == "cpu" and "openvino" in execution.installed else "")


def _openvino_config(precision: Precision, workers: int) -> str:
    """Returns OpenVINO's configuration of the CPU as JSON: one stream of one thread for each batch that runs at once.

    fp32 is said, too: where the CPU has AMX, OpenVINO would take bf16 by itself.
    """
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": str(workers),
        "NUM_STREAMS": str(workers),
        "CPU_RUNTIME_CACHE_CAPACITY": str(_CACHED_PRIMITIVES),
    }
    return json.dumps({"CPU": options})


def _how_to_get(name: str) -> str:
    extra = "cuda" if name in GPU else name
    needs = " and NVIDIA's TensorRT (pip install tensorrt-cu12)" if name == "tensorrt" else ""
    return _INSTALL.format(package=_WHEELS[extra], extra=extra) + needs


def _listed(names: Sequence[str] | frozenset[str]) -> str:
    return ", ".join(name for name in PROVIDERS if name in names) or "none of ours"


def _refusal(variable: str, problem: str) -> FailedPrecondition:
    return FailedPrecondition(f"{variable}: {problem}", reason=Reason.FIELD_INVALID)
