"""Writes the packages of an export: copies its files untouched, runs each graph once, and vouches for all of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sensorium.errors import FailedPrecondition, Reason, SensoriumError
from sensorium.versions import version_key
from shared.importing.hub_folder import HubFolder
from shared.importing.plan import Calibration, ExportPlan, PackagePlan
from shared.inference.package import Package, open_package

_CHUNK_BYTES = 1 << 20
_MAX_BATCH_ITEMS = 64

Probe = Callable[[Package], None]  # runs the package once, and raises where it does not work


def write_packages(
    folder: HubFolder,
    plan: ExportPlan,
    models: Path,
    name: str,
    version: str,
    *,
    replaces: bool,
    probe: Probe,
    space: str = "",
) -> Sequence[Package]:
    """Returns the packages of an export, written below `models`: all of them, or none where one does not work.

    space: the embedding space of their vectors; empty: that of an earlier version whose vectors are the same, or else
        `name@version`, since the vectors of two models must not be compared.

    Raises:
        FailedPrecondition: a package is there already, fails its first run, or cannot be written.
    """
    names = [f"{name}-{each.suffix}" if each.suffix else name for each in plan.packages]
    for each in names:
        if (models / each / version).exists() and not replaces:
            raise FailedPrecondition(
                f"{models / each / version} is there already; give another --version, or --replace it",
                reason=Reason.PACKAGE_INVALID,
                metadata={"package": f"{each}/{version}"},
            )
    with fresh_folder(models, ".adding-") as fresh:
        for each, package in zip(names, plan.packages, strict=True):
            target = fresh / each / version
            _write(folder, plan, package, target, space or f"{name}@{version}")
            probe(open_package(target))
        if not space and (kept := _space_of_the_same(fresh, models, names, version)):
            for each in names:
                _rename_space(fresh / each / version, kept)
        return [put_in_place(fresh, models, each, version) for each in names]


def _space_of_the_same(fresh: Path, models: Path, names: Sequence[str], version: str) -> str:
    """Returns the space of the highest earlier version whose vectors are those of all fresh packages; "" for none."""
    prints = [open_package(fresh / each / version).fingerprint for each in names]
    known: list[dict[str, str]] = [_spaces_by_fingerprint(models / each, version) for each in names]
    spaces = {found.get(fingerprint, "") for found, fingerprint in zip(known, prints, strict=True)}
    return spaces.pop() if len(spaces) == 1 else ""


def _spaces_by_fingerprint(folder: Path, version: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in sorted(folder.glob("*/manifest.json"), key=lambda file: version_key(file.parent.name)):
        with contextlib.suppress(SensoriumError):  # a broken one is none to compare with
            package = open_package(each.parent)
            found |= {package.fingerprint: package.manifest.space} if each.parent.name != version else {}
    return found


def _rename_space(folder: Path, space: str) -> None:
    file = folder / "manifest.json"
    manifest = json.loads(file.read_bytes())
    file.write_text(json.dumps(manifest | {"space": space}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def fresh_folder(models: Path, prefix: str) -> Iterator[Path]:
    """Yields a folder on the disk of the model folder for packages to be made in; it is gone after the block.

    Raises:
        FailedPrecondition: something in the block could not be read or written, as where the disk is full.
    """
    try:
        models.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=models) as fresh:
            yield Path(fresh)
    except OSError as fault:
        where = fault.filename or models
        raise FailedPrecondition(
            f"{where}: {fault.strerror or fault}; the models in {models} are as they were. A package takes the room of "
            "its export there",
            reason=Reason.PACKAGE_INVALID,
        ) from None


def _write(folder: HubFolder, plan: ExportPlan, package: PackagePlan, target: Path, space: str) -> None:
    graph = package.graph
    taken = {name: copied(folder.path(name), target / name) for name in (*graph.files, *package.files)}
    made = {name: made_file(data, target / name) for name, data in (*graph.made.items(), *package.made.items())}
    manifest: dict[str, Any] = {  # Any: JSON
        "schema": 1,
        "name": target.parent.name,
        "version": target.name,
        "task": "encode" if package.modality else "predict",
        **({"modality": package.modality} if package.modality else {}),
        "space": space,
        "dim": graph.dim,
        "graph": graph.file,
        "output": graph.output,
        "pooling": package.pooling,
        **({"head": package.head} if package.head else {}),
        "preprocess": dict(package.preprocess),
        **_calibration(package.calibration),
        **({"prompts": dict(package.prompts)} if package.prompts else {}),
        **({"labels": list(package.labels)} if package.labels else {}),
        "limits": {
            "max_batch_items": 1 if graph.runs_alone else _MAX_BATCH_ITEMS,
            "max_batch_cost": package.max_batch_cost,
        },
        "licence": plan.licence,
        "source": plan.source,
        "files": {**taken, **made},
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (target / "manifest.json").write_text(text, encoding="utf-8")


def _calibration(known: Calibration | None) -> dict[str, Any]:
    """Returns the manifest's field (Any: JSON); none where the scale is not known."""
    if known is None or known.logit_scale is None:
        return {}
    numbers = {"logit_scale": known.logit_scale, "logit_bias": known.logit_bias, "activation": known.activation}
    return {"calibration": numbers}


def copied(source: Path, target: Path) -> str:
    """Copies a file and returns its sha256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        while chunk := read.read(_CHUNK_BYTES):
            written.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def made_file(data: bytes, target: Path) -> str:
    """Writes a file and returns its sha256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def put_in_place(fresh: Path, models: Path, name: str, version: str) -> Package:
    """Puts a package in its place by renames, so that a server never sees half of one."""
    target = models / name / version
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        target.rename(fresh / f"old-{name}")
    (fresh / name / version).rename(target)
    shutil.rmtree(fresh / f"old-{name}", ignore_errors=True)
    return open_package(target)
