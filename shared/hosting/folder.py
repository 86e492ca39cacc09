"""The folder of model packages as one server sees it: which packages fit, which are wanted, which changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sensorium.errors import FailedPrecondition, Reason
from sensorium.versions import version_key
from shared.inference.manifest import Manifest
from shared.inference.package import Package, find_package, find_packages, open_package

_Stamp = tuple[int, int, int]  # of a manifest: time of writing, size, inode


class ModelFolder:
    """Finds and opens packages; what reads files belongs in a thread.

    accepts: which packages this server is for.
    models: those that are wanted, comma-separated; where it is empty, the highest version of each that fits.
    """

    def __init__(self, root: Path, accepts: Callable[[Manifest], bool], models: str) -> None:
        """Reads nothing yet."""
        self.root = root
        self.wanted: Sequence[str] = [name.strip() for name in models.split(",") if name.strip()]
        self.packages: Mapping[Path, _Stamp] = {}  # as of the last look
        self._accepts = accepts

    def find(self, model: str) -> Path:
        """Returns the package `name` (its highest version) or `name@version`.

        Raises:
            NotFound: there is none.
        """
        return find_package(self.root, model)

    def open(self, folder: Path) -> Package:
        """Returns a package whose files are what its manifest says.

        Raises:
            FailedPrecondition: it fails a check, or is for another service.
        """
        package = open_package(folder)
        if not self._accepts(package.manifest):
            raise FailedPrecondition(
                f"model package {package.manifest.id} is for another service: task {package.manifest.task}"
                f" {package.manifest.modality}".rstrip(),
                reason=Reason.MODALITY_UNSUPPORTED,
            )
        return package

    def fitting(self) -> Sequence[Package]:
        """Returns the highest version of each package that this server is for."""
        highest = {folder.parent.name: folder for folder in find_packages(self.root)}
        packages = [open_package(folder) for folder in highest.values()]
        return [package for package in packages if self._accepts(package.manifest)]

    def highest(self, name: str) -> Path | None:
        """Returns the highest version of a name that was there at the last look; None where there is none."""
        versions = [folder for folder in self.packages if folder.parent.name == name]
        return max(versions, key=lambda folder: version_key(folder.name), default=None)

    def names(self, manifest: Manifest) -> bool:
        """Whether a model is one that was named, by its version or by its name alone."""
        return manifest.id in self.wanted or manifest.name in self.wanted

    def replaces(self, folder: Path, loaded: Manifest) -> bool:
        """Whether a package takes the place of a model: a version of its name that was not asked for by version."""
        is_same = loaded.id == f"{folder.parent.name}@{folder.name}"
        return loaded.name == folder.parent.name and (is_same or loaded.id not in self.wanted)

    def look(self) -> Sequence[Path]:
        """Returns the wanted packages that came or changed since the last look."""
        before, self.packages = self.packages, self._stamped()
        changed = [folder for folder, stamp in self.packages.items() if before.get(folder) != stamp]
        return [folder for folder in changed if self._is_wanted(folder)]

    def _stamped(self) -> Mapping[Path, _Stamp]:
        """Returns the packages that are there, each with what tells that its manifest was written anew."""
        found = {}
        for folder in find_packages(self.root):
            try:
                state = (folder / "manifest.json").stat()
            except FileNotFoundError:  # it went just now
                continue
            except OSError as fault:  # opening it will say so, once
                found[folder] = (0, 0, -(fault.errno or 0))
                continue
            found[folder] = (state.st_mtime_ns, state.st_size, state.st_ino)
        return found

    def _is_wanted(self, folder: Path) -> bool:
        """Returns whether a package is one that was named, or the highest version of a name that counts."""
        name = folder.parent.name
        if f"{name}@{folder.name}" in self.wanted:
            return True
        versions = [version_key(other.name) for other in self.packages if other.parent == folder.parent]
        return (not self.wanted or name in self.wanted) and version_key(folder.name) == max(versions)
