"""The models that a server has loaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from sensorium.errors import FailedPrecondition, NotFound, Reason, SensoriumError, Unavailable
from shared.inference.encoder import Encoder
from shared.inference.manifest import Manifest
from shared.inference.package import Package, find_package, find_packages, open_package, version_key

_Input = TypeVar("_Input")
_Stamp = tuple[int, int, int]  # of a manifest: time of writing, size, inode

_log = logging.getLogger("sensorium.models")


class Repository(Generic[_Input]):
    """Loads packages from a folder, finds them by name, lets them go.

    accepts: which packages this server is for.
    open_encoder: opens and warms up one package; runs in a thread.
    on_unload: hears of a package that went.
    The first model loaded of each task is the default one.
    """

    def __init__(
        self,
        root: Path,
        accepts: Callable[[Manifest], bool],
        open_encoder: Callable[[Package], Encoder[_Input]],
        on_unload: Callable[[Package], None],
    ) -> None:
        """Loads nothing yet; until `load_all` has ended, `get` says that the server is loading."""
        self._is_starting = True
        self._root = root
        self._accepts = accepts
        self._open = open_encoder
        self._on_unload = on_unload
        self._loaded: dict[str, Encoder[_Input]] = {}
        self._wanted: Sequence[str] = ()
        self._stamps: Mapping[Path, _Stamp] = {}
        self._turn = asyncio.Lock()  # one package is opened at a time: each takes memory and every CPU

    @property
    def encoders(self) -> Sequence[Encoder[_Input]]:
        """What is loaded, in the order of loading."""
        return tuple(self._loaded.values())

    async def load_all(self, models: str) -> None:
        """Loads `models` (comma-separated), or where that is empty the highest version of each fitting package.

        Raises:
            SensoriumError: a package is missing or fails a check, or none fits.
        """
        self._wanted = [name.strip() for name in models.split(",") if name.strip()]
        self._stamps = await asyncio.to_thread(self._stamped)
        for model in self._wanted or await asyncio.to_thread(self._fitting):
            await self.load(model)
        if not self._loaded:
            raise NotFound(f"the model folder {self._root} has no package for this service (SENSORIUM_MODELS)")
        self._is_starting = False

    async def refresh(self) -> None:
        """Brings what is served in line with the folder, without a gap.

        What is wanted there and new or changed is loaded, and takes the place of an older version; what went is let
        go, but for a default model.
        A package that fails keeps what was served, says why in the log, and is tried again when it changes.
        """
        stamps = await asyncio.to_thread(self._stamped)
        changed = [folder for folder, stamp in stamps.items() if self._stamps.get(folder) != stamp]
        self._stamps = stamps
        for folder in changed:
            if self._is_wanted(folder, stamps):
                await self._replace(folder)
        for encoder in self.encoders:
            if encoder.package.folder not in stamps and not self.is_default(encoder.package.manifest):
                self.unload(encoder.package.manifest.id)

    def _stamped(self) -> dict[Path, _Stamp]:
        """Returns the packages of the folder, each with what tells that its manifest was written anew."""
        found = {}
        for folder in find_packages(self._root):
            with contextlib.suppress(FileNotFoundError):  # it went just now
                state = (folder / "manifest.json").stat()
                found[folder] = (state.st_mtime_ns, state.st_size, state.st_ino)
        return found

    def _is_wanted(self, folder: Path, stamps: Mapping[Path, _Stamp]) -> bool:
        """Returns whether a package is one that was named, or the highest version of a name that counts."""
        name = folder.parent.name
        if f"{name}@{folder.name}" in self._wanted:
            return True
        versions = [version_key(other.name) for other in stamps if other.parent == folder.parent]
        return (not self._wanted or name in self._wanted) and version_key(folder.name) == max(versions)

    async def _replace(self, folder: Path) -> None:
        async with self._turn:
            try:
                encoder = await asyncio.to_thread(self._opened, folder)
            except (SensoriumError, OSError) as fault:
                if not (isinstance(fault, FailedPrecondition) and fault.reason == Reason.MODALITY_UNSUPPORTED):
                    _log.error("a package is not loaded", exc_info=fault, extra={"f": {"folder": str(folder)}})
                return
            self._put(encoder)

    def _put(self, encoder: Encoder[_Input]) -> None:
        """Serves a package in the place of those versions of its name that were not asked for by version."""
        package = encoder.package
        loaded: dict[str, Encoder[_Input]] = {}
        old = []
        for key, each in self._loaded.items():
            is_pinned = key in self._wanted and key != package.manifest.id
            if each.package.manifest.name == package.manifest.name and not is_pinned:
                loaded[package.manifest.id] = encoder  # in its place, so that a default model stays the default
                old.append(each.package)
            else:
                loaded[key] = each
        loaded.setdefault(package.manifest.id, encoder)
        self._loaded = loaded
        for gone in old:
            if (gone.manifest.id, gone.fingerprint) != (package.manifest.id, package.fingerprint):
                self._on_unload(gone)

    async def load(self, model: str) -> Encoder[_Input]:
        """Opens, checks and warms up a package, and serves it from then on.

        Raises:
            NotFound: the folder has no such package.
            FailedPrecondition: it fails a check, or is for another service.
        """
        async with self._turn:
            folder = await asyncio.to_thread(find_package, self._root, model)
            loaded = self._loaded.get(f"{folder.parent.name}@{folder.name}")
            if loaded is not None:
                return loaded
            encoder = await asyncio.to_thread(self._opened, folder)
            self._loaded[encoder.package.manifest.id] = encoder
            return encoder

    def unload(self, model: str) -> Encoder[_Input]:
        """Lets a model go; calls that run on it end as they would.

        Raises:
            NotFound: it is not loaded.
            FailedPrecondition: it is the default model of its task.
        """
        encoder = self.get(model)
        manifest = encoder.package.manifest
        if self.is_default(manifest):
            raise FailedPrecondition(
                f"{manifest.id} is the default model of this service and stays loaded",
                reason=Reason.FIELD_INVALID,
                field="model",
            )
        self._on_unload(encoder.package)
        return self._loaded.pop(manifest.id)

    def get(self, model: str, task: str = "", field: str = "model") -> Encoder[_Input]:
        """Returns `name` (its highest loaded version), `name@version`, or for "" the default model of the task.

        field: where the request named it, for the error.

        Raises:
            NotFound: it is not loaded; the metadata names what is.
            Unavailable: the server is still loading its first models.
        """
        if self._is_starting:
            raise Unavailable("the service is loading its models", reason=Reason.LOADING, retry_after_s=1.0)
        fitting = [encoder for encoder in self.encoders if task in ("", encoder.package.manifest.task)]
        if not model and fitting:
            return fitting[0]
        name, _, version = model.partition("@")
        matches = [
            encoder
            for encoder in fitting
            if encoder.package.manifest.name == name and version in ("", encoder.package.manifest.version)
        ]
        if not matches:
            available = ", ".join(encoder.package.manifest.id for encoder in fitting)
            raise NotFound(
                f"no model {model!r} is loaded; this service has {available or 'none of this task'}",
                field=field,
                metadata={"model": model[:100], "available": available[:500]},
            )
        return max(matches, key=lambda encoder: version_key(encoder.package.manifest.version))

    def is_default(self, manifest: Manifest) -> bool:
        """Whether calls that name no model are answered by this one; a bridge is found by its spaces, never so."""
        return manifest.task != "project" and self.get("", manifest.task).package.manifest.id == manifest.id

    def _fitting(self) -> list[str]:
        """Returns the highest version of each package that this server is for."""
        highest = {folder.parent.name: folder for folder in find_packages(self._root)}
        manifests = [open_package(folder).manifest for folder in highest.values()]
        return [manifest.id for manifest in manifests if self._accepts(manifest)]

    def _opened(self, folder: Path) -> Encoder[_Input]:
        package = open_package(folder)
        if not self._accepts(package.manifest):
            raise FailedPrecondition(
                f"model package {package.manifest.id} is for another service: task {package.manifest.task}"
                f" {package.manifest.modality}".rstrip(),
                reason=Reason.MODALITY_UNSUPPORTED,
            )
        return self._open(package)
