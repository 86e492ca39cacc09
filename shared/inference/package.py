"""Opens model packages: one folder `<name>/<version>/` with a manifest that vouches for every file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from sensorium.errors import FailedPrecondition, NotFound
from sensorium.versions import version_key
from shared.inference.graph_files import data_files
from shared.inference.manifest import MAX_BYTES, Manifest, package_error, printable, read_manifest

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
        """Returns the path of one of its files, or of its `manifest.json`.

        Raises:
            FailedPrecondition: PACKAGE_INVALID; `files` has no hash for it, so that nobody vouches for what it holds.
        """
        if name not in self.manifest.files and name != "manifest.json":
            raise _unlisted(f"{self.manifest.name}/{self.manifest.version}", name)
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
    manifest = read_manifest(_manifest_bytes(folder, label), label)
    _check_identity(folder, manifest, label)
    for name, expected in manifest.files.items():
        _check_file(folder, name, expected, label)
    for graph in filter(None, (manifest.graph, manifest.head)):
        _check_graph(folder, graph, manifest, label)
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
        available = printable(", ".join(f"{folder.parent.name}@{folder.name}" for folder in folders))
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


def _manifest_bytes(folder: Path, label: str) -> bytes:
    """Returns what the manifest holds, and no more than tells that it is too long."""
    file = folder / "manifest.json"
    try:
        _check_inside(folder, "manifest.json", label)
        if not file.is_file():
            problem = "is missing; a package is a folder <name>/<version>/ that holds one"
            raise package_error(label, "manifest.json", problem)
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as fault:
        raise package_error(label, "manifest.json", f"cannot be read: {fault.strerror}") from None


def _check_file(folder: Path, name: str, expected: str, label: str) -> None:
    path = folder / name
    try:
        _check_inside(folder, name, label)
        if not path.is_file():
            raise package_error(label, name, "is missing, but field `files` names it")
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as fault:
        raise package_error(label, name, f"cannot be read: {fault.strerror}") from None
    if actual != expected:
        raise package_error(label, name, f"has the sha256 {actual}, but field `files.{name}` says {expected}")


def _check_inside(folder: Path, name: str, label: str) -> None:
    """Refuses a name that leads out of the package, by itself or by links."""
    try:
        is_inside = not Path(name).is_absolute() and (folder / name).resolve().is_relative_to(folder.resolve())
    except RuntimeError:  # links that lead in a circle
        is_inside = False
    if not is_inside or ".." in Path(name).parts:
        raise package_error(label, name, "leads out of the package; its files must lie inside it")


def _check_graph(folder: Path, graph: str, manifest: Manifest, label: str) -> None:
    """Refuses a graph that nobody vouches for, or that would open such a file."""
    if graph not in manifest.files:
        raise _unlisted(label, graph)
    try:
        names = data_files(folder / graph)
    except (ValueError, OSError) as fault:
        raise package_error(label, graph, f"is no ONNX graph: {fault}") from None
    for name in names:
        if str(PurePosixPath(graph).parent / name) not in manifest.files:
            raise package_error(label, graph, f"keeps weights in {name!r}, but `files` has no hash for that file")


def _unlisted(label: str, name: str) -> FailedPrecondition:
    return package_error(label, name, "is used, but `files` has no hash for it")


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
