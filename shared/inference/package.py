"""Opens model packages: one folder `<name>/<version>/` with a manifest that vouches for every file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from sensorium.errors import NotFound
from sensorium.versions import version_key
from shared.inference.manifest import Manifest, package_error, read_manifest

# Part of every fingerprint: raise it whenever the code of preprocessing changes a vector.
PREPROCESSING_VERSION = 1


@dataclass(frozen=True, slots=True)
class Package:
    """A package whose files are what its manifest says.

    fingerprint: 16 hex digits that change whenever vectors may change.
    precision, provider: what its graph runs in and with: `int8` of a graph that was quantized, `fp32` and `cpu` until
        a model that was opened says otherwise.
    """

    folder: Path
    manifest: Manifest
    fingerprint: str
    precision: str = "fp32"
    provider: str = "cpu"

    def path(self, name: str) -> Path:
        """Returns the path of one of its files."""
        return self.folder / name

    def running(self, precision: str, provider: str) -> Package:
        """Returns the package as it really runs, its precision being part of the fingerprint."""
        fingerprint = _fingerprint(self.manifest, precision)
        return replace(self, fingerprint=fingerprint, precision=precision, provider=provider)


def open_package(folder: Path) -> Package:
    """Reads the manifest of a package and checks every file against it.

    Raises:
        FailedPrecondition: PACKAGE_INVALID, naming the file and the field.
    """
    label = f"{folder.parent.name}/{folder.name}"
    file = folder / "manifest.json"
    if not file.is_file():
        raise package_error(
            label, "manifest.json", "is missing; a package is a folder <name>/<version>/ that holds one"
        )
    manifest = read_manifest(file.read_text(encoding="utf-8"), label)
    _check_identity(folder, manifest, label)
    for name, expected in manifest.files.items():
        _check_file(folder, name, expected, label)
    for graph in filter(None, (manifest.graph, manifest.head)):
        if graph not in manifest.files:
            raise package_error(label, graph, "is a graph, but `files` has no hash for it")
    precision = "int8" if manifest.precision == "int8" else "fp32"
    return Package(folder, manifest, _fingerprint(manifest, precision), precision)


def find_packages(root: Path) -> list[Path]:
    """Returns the folders of all packages below `root`, ordered by name and then by version, the highest last."""
    return sorted(
        (file.parent for file in root.glob("*/*/manifest.json")),
        key=lambda folder: (folder.parent.name, version_key(folder.name)),
    )


def find_package(root: Path, model: str) -> Path:
    """Returns the folder of `name` (its highest version) or `name@version` below `root`.

    Raises:
        NotFound: there is none; the metadata names those that exist.
    """
    name, _, version = model.partition("@")
    folders = find_packages(root)
    matches = [folder for folder in folders if folder.parent.name == name and version in ("", folder.name)]
    if not matches:
        available = ", ".join(f"{folder.parent.name}@{folder.name}" for folder in folders)
        raise NotFound(
            f"no model package {model!r} in the model folder; it has {available or 'none'}",
            metadata={"model": model, "available": available},
        )
    return matches[-1]


def _check_identity(folder: Path, manifest: Manifest, label: str) -> None:
    for field, value, place in (
        ("name", manifest.name, folder.parent.name),
        ("version", manifest.version, folder.name),
    ):
        if value != place:
            raise package_error(label, "manifest.json", f"field `{field}` is {value!r}, but the folder is {place!r}")


def _check_file(folder: Path, name: str, expected: str, label: str) -> None:
    path = folder / name
    if Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        raise package_error(label, name, "leads out of the package; its files must lie inside it")
    if not path.is_file():
        raise package_error(label, name, "is missing, but field `files` names it")
    with path.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != expected:
        raise package_error(label, name, f"has the sha256 {actual}, but field `files.{name}` says {expected}")


def _fingerprint(manifest: Manifest, precision: str) -> str:
    facts = {
        "files": {name: sha256 for name, sha256 in manifest.files.items() if not name.endswith(".md")},
        "preprocess": manifest.preprocess,
        "pooling": manifest.pooling,
        "output": manifest.output,
        "prompts": manifest.prompts,
        **({"head": manifest.head} if manifest.head else {}),
        **({"precision": precision} if precision != "fp32" else {}),  # so that fp32 keeps the fingerprint it had
        "code": PREPROCESSING_VERSION,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
