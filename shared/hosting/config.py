"""What every server of models can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.serving import checks
from shared.serving.config import option

# The packages that ship lie beside the code, in a checkout and in the images alike.
_SHIPPED = Path(__file__).resolve().parents[2] / "models"


@dataclass(frozen=True)
class HostingConfig:
    """Which models are served, and with how much of the machine."""

    models: Path = option(_SHIPPED, "folder of model packages, <name>/<version>/manifest.json", check=checks.folder)
    load_models: str = option(
        "",
        "models to load at start, name (its highest version) or name@version, comma-separated; the first is the "
        "default; "
        "empty: the highest version of each fitting package",
    )
    default_model: str = option(
        "",
        "models that answer calls without one, one of each task, name (its later versions follow) or name@version, "
        "comma-separated; empty: those that were chosen last (`sensorium models default`), or else the first by name",
    )
    keep_old_s: float = option(
        -1.0,
        "seconds that an older version stays served beside one that took its place; below 0: until it is unloaded",
        low=-1.0,
    )
    watch_s: float = option(
        0.0,
        "seconds between looks at the model folder: packages that came or changed are loaded, those that went are let "
        "go; 0: never",
        low=0.0,
    )
    memory_budget_mb: float = option(
        0.0,
        "what the loaded models may take together, counted as the size of their graphs and weights on disk in MB of a "
        "million bytes (what the runtime takes beside is on top); models that were not used for longest are unloaded "
        "for others, but for defaults, those of load_models, bridges and fusers; 0: no bound",
        low=0.0,
    )
    workers: int = option(
        0, "batches that run at once; 0: the CPUs that the affinity and the cgroup's quota allow", low=0, high=1024
    )
    precision: str = option(
        "auto",
        "what graphs of fp32 are computed in: fp32, bf16, or auto: bf16 where the OpenVINO provider is installed and "
        "the CPU has AMX, else fp32; a package may pin its own",
    )
    providers: str = option(
        "cpu", "onnxruntime's execution providers, the preferred first: cpu, openvino, cuda, tensorrt, comma-separated"
    )
    engine_cache: str = option(
        "", "folder where TensorRT keeps the engines that it compiles; empty: it compiles them at each start"
    )
    cache_mb: float = option(
        64.0,
        "what the vectors of inputs that were seen before may take, in MB of a million bytes; 0: nothing is kept, and "
        "equal inputs are each computed",
        low=0.0,
    )
    lone_threads: int = option(
        1,
        "threads that a batch may have while nothing else runs; 0: as many as workers. More than 1 makes long inputs "
        "faster for a lone caller, where cores are idle, and takes the memory of the weights twice",
        low=0,
        high=1024,
    )
    max_queue_batches: int = option(64, "how many full batches may wait for a model before calls are refused", low=1)
    canary_timeout_s: float = option(
        5.0, "seconds that a canary inference may take before the model counts as down", low=0.01
    )
    canary_interval_s: float = option(10.0, "seconds between the canary inferences that health rests on", low=0.1)
