"""Tells log and metrics which models come and go."""

from __future__ import annotations

import logging
from typing import Any, Literal, get_args

from shared.inference.encoder import Encoder
from shared.inference.package import Package
from shared.serving.metrics import Metrics

# Why a model went: a call said so, another one needed the room, another one took its place, its package went.
Unload = Literal["requested", "budget", "replaced", "gone"]

_log = logging.getLogger("sensorium.models")


class Report:
    """Hears of every model that comes and goes. Any: encoders of whatever input."""

    def __init__(self, metrics: Metrics) -> None:
        """Shows every reason from the start, so that the first model that goes is a rise of its counter."""
        self._metrics = metrics
        for reason in get_args(Unload):
            metrics.model_unloads.labels(reason)

    def came(self, encoder: Encoder[Any], size_bytes: int, seconds: float) -> None:
        """Tells of a model that is served; checking, opening and warming it up took so long."""
        manifest = encoder.package.manifest
        self._metrics.model_load_seconds.labels(manifest.id).set(seconds)
        self._metrics.model_bytes.labels(manifest.id).set(size_bytes)
        self._metrics.model_info.labels(*_facts(encoder.package)).set(1)
        package = encoder.package
        runs = {"precision": package.precision, "provider": package.provider}
        facts = {"model": manifest.id, "space": manifest.space, "bytes": size_bytes, "ms": round(1000 * seconds)}
        if encoder.quantized_cosine is not None:
            runs["quantized_cosine"] = f"{encoder.quantized_cosine:.6f}"
        elif package.precision == "int8":
            said = "an int8 model keeps nothing that tells whether it is computed rightly here"
            _log.warning(said, extra={"f": {"model": manifest.id}})
        _log.info("model loaded", extra={"f": {**facts, **runs}})

    def went(self, encoder: Encoder[Any], reason: Unload) -> None:
        """Tells of a model that takes no new calls: its gauges go, its counters stay."""
        model = encoder.package.manifest.id
        encoder.retire()
        self._metrics.model_load_seconds.remove(model)
        self._metrics.model_bytes.remove(model)
        self._metrics.model_info.remove(*_facts(encoder.package))
        self._metrics.model_unloads.labels(reason).inc()
        _log.info("model unloaded", extra={"f": {"model": model, "reason": reason}})


def _facts(package: Package) -> tuple[str, str, str, str]:
    manifest = package.manifest
    return manifest.name, manifest.version, manifest.space, package.fingerprint
