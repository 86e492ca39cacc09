"""Writes the packages of an export: copies its files untouched, runs each graph once, and vouches for all of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sensorium.errors import FailedPrecondition, Reason
from shared.importing.hub_folder import HubFolder
from shared.importing.plan import Calibration, EncoderPlan, ExportPlan
from shared.inference.package import Package, open_package

_CHUNK_BYTES = 1 << 20
_MAX_BATCH_ITEMS = 64

Probe = Callable[[Package], None]  # runs the package once, and raises where it does not work


def write_packages(
    folder: HubFolder, plan: ExportPlan, models: Path, name: str, version: str, *, replaces: bool, probe: Probe
) -> Sequence[Package]:
    """Returns the packages of an export, written below `models`: all of them, or none where one does not work.

    Raises:
        FailedPrecondition: a package is there already, or fails its first run.
    """
    names = [f"{name}-{each.suffix}" if each.suffix else name for each in plan.encoders]
    for each in names:
        if (models / each / version).exists() and not replaces:
            raise FailedPrecondition(
                f"{models / each / version} is there already; give another --version, or --replace it",
                reason=Reason.PACKAGE_INVALID,
                metadata={"package": f"{each}/{version}"},
            )
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".adding-", dir=models) as fresh:
        for each, encoder in zip(names, plan.encoders, strict=True):
            target = Path(fresh) / each / version
            _write(folder, plan, encoder, target, f"{name}@{version}")
            probe(open_package(target))
        return [_moved(Path(fresh), models, each, version) for each in names]


def _write(folder: HubFolder, plan: ExportPlan, encoder: EncoderPlan, target: Path, space: str) -> None:
    hashes = {name: _copied(folder.root / name, target / name) for name in encoder.files}
    manifest: dict[str, Any] = {  # Any: JSON
        "schema": 1,
        "name": target.parent.name,
        "version": target.name,
        "task": "encode",
        "modality": encoder.modality,
        "space": space,
        "dim": encoder.dim,
        "graph": encoder.graph,
        "output": encoder.output,
        "pooling": encoder.pooling,
        "preprocess": dict(encoder.preprocess),
        **_calibration(encoder.calibration),
        **({"prompts": dict(encoder.prompts)} if encoder.prompts else {}),
        **({"templates": list(encoder.templates)} if encoder.templates else {}),
        "limits": {"max_batch_items": _MAX_BATCH_ITEMS, "max_batch_cost": encoder.max_batch_cost},
        "licence": plan.licence,
        "source": plan.source,
        "files": hashes,
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (target / "manifest.json").write_text(text, encoding="utf-8")


def _calibration(known: Calibration | None) -> dict[str, Any]:
    """Returns the manifest's field (Any: JSON); none where the scale is not known."""
    if known is None or known.logit_scale is None:
        return {}
    numbers = {"logit_scale": known.logit_scale, "logit_bias": known.logit_bias, "activation": known.activation}
    return {"calibration": numbers}


def _copied(source: Path, target: Path) -> str:
    """Copies a file and returns its sha256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        while chunk := read.read(_CHUNK_BYTES):
            written.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def _moved(fresh: Path, models: Path, name: str, version: str) -> Package:
    """Puts a package in its place by renames, so that a server never sees half of one."""
    target = models / name / version
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        target.rename(fresh / f"old-{name}")
    (fresh / name / version).rename(target)
    shutil.rmtree(fresh / f"old-{name}", ignore_errors=True)
    return open_package(target)
