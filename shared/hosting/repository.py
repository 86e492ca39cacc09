"""The models that a server has loaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Generic, TypeVar, TypeVarTuple

from sensorium.errors import FailedPrecondition, NotFound, Reason, SensoriumError, Unavailable
from shared.hosting.budget import Held, OverBudget, absence_text, budget_text, choose_leaving, weight_bytes
from shared.hosting.folder import ModelFolder
from shared.hosting.report import Report, Unload
from shared.hosting.versions import Versions
from shared.inference.encoder import Encoder
from shared.inference.manifest import Manifest, package_error
from shared.inference.package import Package

_Input = TypeVar("_Input")
_Result = TypeVar("_Result")
_Given = TypeVarTuple("_Given")

_log = logging.getLogger("sensorium.models")

# Calls find these by their spaces and name no model, so nobody could be told why one is missing.
_FOUND_BY_SPACE = ("fuse", "project")


class Repository(Generic[_Input]):
    """Loads packages from a folder, finds them by name, lets them go.

    open_encoder: opens and warms up one package; runs in `thread`.
    thread: for what blocks; a single one, since what is freed of its allocations serves the next package.
    budget_bytes: what the weights of all models may take together; 0 for no bound.
    versions: which model is the default of each task, and which version a name stands for.
    keep_old_s: how long an older version stays served beside one that took its place; infinite: until it is unloaded.
    A model that went lives on in the calls that hold it: they end as they would, and the last of them frees its memory.
    """

    def __init__(
        self,
        folder: ModelFolder,
        open_encoder: Callable[[Package], Encoder[_Input]],
        thread: Executor,
        report: Report,
        budget_bytes: int,
        versions: Versions,
        keep_old_s: float = math.inf,
    ) -> None:
        """Loads nothing yet; until `load_all` has ended, `get` says that the server is loading."""
        self.changed = asyncio.Event()  # set whenever a model comes or goes; whoever reacts to it clears it
        self._is_starting = True
        self._folder = folder
        self._open = open_encoder
        self._thread = thread
        self._report = report
        self._budget_bytes = budget_bytes
        self._versions = versions
        self._keep_old_s = keep_old_s
        self._loaded: dict[str, Encoder[_Input]] = {}
        self._sizes: dict[str, int] = {}  # of what is loaded, in bytes
        self._left_out: dict[Path, Manifest] = {}  # what the budget keeps unloaded
        self._missed: set[str] = set()  # defaults whose packages are gone, which was said
        self._loads: set[asyncio.Task[Encoder[_Input]]] = set()
        self._turn = asyncio.Lock()  # one package is opened at a time: each takes memory and every CPU

    @property
    def encoders(self) -> Sequence[Encoder[_Input]]:
        """What is loaded, in the order of loading."""
        return tuple(self._loaded.values())

    async def load_all(self) -> None:
        """Loads what is wanted; where nothing was named, what the budget has no room for is left out.

        Raises:
            SensoriumError: a package is missing, fails a check or was named and does not fit, or none is for us.
        """
        await self._in_thread(self._folder.look)
        for model in self._folder.wanted:
            await self.load(model)
        if not self._folder.wanted:
            await self._load_fitting()
        if not self._loaded:
            bound = f" that {budget_text(self._budget_bytes)} has room for" if self._left_out else ""
            raise NotFound(
                f"the model folder {self._folder.root} has no package for this service{bound} (SENSORIUM_MODELS)"
            )
        self._versions.settle(self._manifests(), self._folder.wanted)
        await self._in_thread(self._versions.save)
        self._is_starting = False

    async def _load_fitting(self) -> None:
        for package in await self._in_thread(self._folder.fitting):
            try:
                await self.load(package.manifest.id)
            except OverBudget as refusal:
                self._left_out[package.folder] = package.manifest
                _log.warning("a package is left out", extra={"f": {"folder": str(package.folder), "why": str(refusal)}})
        for model in self._versions.others():
            try:
                await self.load(model)
            except SensoriumError as refusal:
                _log.warning("a version that was served is not", extra={"f": {"model": model, "why": str(refusal)}})

    def _manifests(self) -> Sequence[Manifest]:
        return [encoder.package.manifest for encoder in self.encoders]

    async def refresh(self) -> None:
        """Brings what is served in line with the folder, without a gap.

        What is wanted there and new or changed is loaded. A new version of the same space takes the place of the older
        one, which stays beside it; one of another space is served beside, and answers those who ask for it. What went
        is let go; of a default model another version takes its place, or else it stays.
        A package that fails keeps what was served, says why in the log, and is tried again when it changes.
        """
        for folder in await self._in_thread(self._folder.look):
            async with self._turn:
                older = [each for each in self.encoders if self._folder.replaces(folder, each.package.manifest)]
                await self._try_to_bring(folder, older)
        there = self._folder.packages
        self._left_out = {folder: manifest for folder, manifest in self._left_out.items() if folder in there}
        for encoder in self.encoders:
            if encoder.package.folder not in there:
                await self._miss(encoder)
        if await self._in_thread(self._versions.reread):
            await self._follow_choices()

    async def _miss(self, encoder: Encoder[_Input]) -> None:
        """Lets a model go whose package is gone; of the one that answers for its name, another version takes over."""
        manifest = encoder.package.manifest
        if self._versions.is_current(manifest, self._manifests()):
            heir = self._folder.highest(manifest.name)
            if heir is not None:
                async with self._turn:
                    await self._try_to_bring(heir)
            others = [each for each in self._manifests() if each.name == manifest.name and each.id != manifest.id]
            if not others and self.is_default(manifest):
                if manifest.id not in self._missed:
                    self._missed.add(manifest.id)
                    facts = {"model": manifest.id, "fix": "sensorium models default NAME, then unload it"}
                    _log.warning("the package of a default model is gone; it stays served", extra={"f": facts})
                return
        if encoder in self.encoders:
            self._let_go(encoder, "gone")
            await self._in_thread(self._versions.save)

    async def _follow_choices(self) -> None:
        """Loads what another replica chose; what is chosen counts as soon as it is loaded."""
        for model in self._versions.others():
            if model not in self._loaded:
                with contextlib.suppress(SensoriumError):
                    await self.load(model)
        self.changed.set()

    async def load(self, model: str) -> Encoder[_Input]:
        """Opens, checks and warms up a package, and serves it from then on; cancelling stops the wait alone.

        Raises:
            NotFound: the folder has no such package.
            FailedPrecondition: it fails a check, is for another service, or does not fit into the budget.
        """
        task = asyncio.create_task(self._load(model))  # a thread cannot be stopped, and its work would be lost
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Gives up the loads that run, as far as a thread can be."""
        for task in self._loads:
            task.cancel()
        await asyncio.gather(*self._loads, return_exceptions=True)
        if not self._is_starting:  # what came just now may not have been kept yet
            await self._in_thread(self._versions.save)

    async def _load(self, model: str) -> Encoder[_Input]:
        async with self._turn:
            folder = await self._in_thread(self._folder.find, model)
            loaded = self._loaded.get(f"{folder.parent.name}@{folder.name}")
            return loaded or await self._bring(folder, ())

    async def set_default(self, model: str) -> Encoder[_Input]:
        """Makes a model the default of its task, and the one that its name stands for; loads it where it is not.

        model: `name`, whose later versions follow, or `name@version`, which stays the default when others come.

        Raises:
            NotFound: neither is it loaded nor does the folder have it.
            FailedPrecondition: it fails a check, or is a bridge, which is found by its spaces.
        """
        try:
            encoder = self.get(model)
        except NotFound:
            encoder = await self.load(model)
        manifest = encoder.package.manifest
        if manifest.task == "project":
            problem = f"{manifest.id} is a bridge, which calls find by their spaces; it can be no default"
            raise FailedPrecondition(problem, reason=Reason.FIELD_INVALID, field="model")
        self._versions.choose(model, manifest)
        if not await self._in_thread(self._versions.save):
            _log.warning("the default is not kept over a restart: the model folder cannot be written")
        _log.info("default model", extra={"f": {"model": manifest.id, "task": manifest.task}})
        self.changed.set()
        return encoder

    async def unload(self, model: str) -> Encoder[_Input]:
        """Lets a model go; calls that run on it end as they would. Of a default, another version takes the place.

        Raises:
            NotFound: it is not loaded.
            FailedPrecondition: it is the default model of its task, and no other version of it is loaded.
        """
        encoder = self.get(model)
        manifest = encoder.package.manifest
        others = [each for each in self._manifests() if each.id != manifest.id]
        if self.is_default(manifest) and not any(each.name == manifest.name for each in others):
            fitting = ", ".join(each.id for each in others if each.task == manifest.task) or "load another first"
            problem = (
                f"{manifest.id} is the default model of this service and the only version of it that is loaded; make "
                f"another one the default first (sensorium models default NAME): {fitting}"
            )
            raise FailedPrecondition(problem, reason=Reason.FIELD_INVALID, field="model")
        self._let_go(encoder, "requested")
        await self._in_thread(self._versions.save)
        return encoder

    def get(self, model: str, task: str = "", field: str = "model") -> Encoder[_Input]:
        """Returns `name` (the version that it stands for), `name@version`, or for "" the default model of the task.

        field: where the request named it, for the error.

        Raises:
            NotFound: it is not loaded; the metadata names what is.
            Unavailable: the server is still loading its first models.
        """
        if self._is_starting:
            raise Unavailable("the service is loading its models", reason=Reason.LOADING, retry_after_s=1.0)
        matches = [manifest for manifest in self._manifests() if _is_meant(manifest, model, task)]
        if not matches:
            raise self._not_found(model, task, field)
        found = self._loaded[self._versions.meant(model, matches).id]
        found.used_at = time.monotonic()
        return found

    def of_space(self, task: str, space: str, source_space: str = "") -> Encoder[_Input] | None:
        """Returns the model of a task that a space has; of several the default, or else the highest version."""
        fitting = [
            manifest
            for manifest in self._manifests()
            if (manifest.task, manifest.space, manifest.source_space) == (task, space, source_space)
        ]
        return self._loaded[self._versions.meant("", fitting).id] if fitting else None

    def is_default(self, manifest: Manifest) -> bool:
        """Whether calls that name no model are answered by this one; a bridge is found by its spaces, never so."""
        return manifest.task != "project" and self._versions.is_default(manifest, self._manifests())

    def _not_found(self, model: str, task: str, field: str) -> NotFound:
        fitting = [each.package.manifest for each in self.encoders if task in ("", each.package.manifest.task)]
        available = ", ".join(manifest.id for manifest in fitting)
        left_out = [manifest for manifest in self._left_out.values() if _is_meant(manifest, model, task)]
        why = absence_text(left_out[-1].id, self._budget_bytes) if left_out else ""
        return NotFound(
            f"no model {model!r} is loaded; this service has {available or 'none of this task'}{why}",
            field=field,
            metadata={"model": model[:100], "available": available[:500]},
        )

    async def _try_to_bring(self, folder: Path, older: Sequence[Encoder[_Input]] = ()) -> None:
        try:
            await self._bring(folder, older)
        except Exception as fault:  # noqa: BLE001  # a package may be wrong in any way, and others are served
            if not (isinstance(fault, FailedPrecondition) and fault.reason == Reason.MODALITY_UNSUPPORTED):
                _log.error("a package is not loaded", exc_info=fault, extra={"f": {"folder": str(folder)}})

    async def _bring(self, folder: Path, older: Sequence[Encoder[_Input]]) -> Encoder[_Input]:
        """Serves a package in the place of older versions; for one that cannot be opened, nothing is given up."""
        started = time.perf_counter()
        package = await self._in_thread(self._folder.open, folder)
        _check_width(package.manifest, [each.package.manifest for each in self.encoders if each not in older])
        size_bytes = await self._in_thread(weight_bytes, package)
        before, choices = list(self._loaded), self._versions.kept()
        leaving = self._make_room(package.manifest.id, size_bytes, older)
        try:
            encoder = await self._in_thread(self._opened, package)
        except Exception:
            await self._bring_back(leaving, before)
            if leaving:
                self._versions.restore(choices)
            raise
        self._sizes[package.manifest.id] = size_bytes
        self._put(encoder, older)
        self._left_out.pop(folder, None)
        self._report.came(encoder, size_bytes, time.perf_counter() - started)
        self.changed.set()
        if older and not self._is_starting:
            await self._in_thread(self._versions.save)
        return encoder

    def _opened(self, package: Package) -> Encoder[_Input]:
        """Opens a package in the thread; whatever a library raises over its files says that the package is wrong."""
        try:
            return self._open(package)
        except (SensoriumError, OSError):
            raise
        except Exception as fault:
            _log.error("a package cannot be opened", exc_info=fault, extra={"f": {"folder": str(package.folder)}})
            label = f"{package.manifest.name}/{package.manifest.version}"
            problem = f"the model cannot be opened: {type(fault).__name__}: {str(fault)[:200]}"
            raise package_error(label, package.manifest.graph, problem) from fault

    async def _bring_back(self, gone: Mapping[Path, float], before: Sequence[str]) -> None:
        """Loads again what went for nothing, as used as it was and in the order of before."""
        for folder, used_at in gone.items():
            await self._try_to_bring(folder)
            for encoder in self.encoders:
                if encoder.package.folder == folder:
                    encoder.used_at = used_at
        self._loaded = {model: self._loaded[model] for model in before if model in self._loaded} | self._loaded

    def _make_room(self, model: str, size_bytes: int, older: Sequence[Encoder[_Input]]) -> Mapping[Path, float]:
        """Lets models go so that another one fits beside the rest but for `older`; returns when each was last used."""
        held = {each.package.manifest.id: each for each in self.encoders if each not in older}
        facts = [Held(name, self._sizes[name], each.used_at, self._stays(each)) for name, each in held.items()]
        leaving = [held[name] for name in choose_leaving(model, size_bytes, facts, self._budget_bytes)]
        for encoder in leaving:
            self._let_go(encoder, "budget")
            self._left_out[encoder.package.folder] = encoder.package.manifest
        return {encoder.package.folder: encoder.used_at for encoder in leaving}

    def _stays(self, encoder: Encoder[_Input]) -> bool:
        """Whether the budget may not touch a model: a default, one named at start, one that is found by its spaces."""
        manifest = encoder.package.manifest
        is_kept = self._folder.names(manifest) or manifest.task in _FOUND_BY_SPACE
        return self._is_starting or is_kept or self.is_default(manifest)

    async def _in_thread(self, do: Callable[[*_Given], _Result], *given: *_Given) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do, *given)

    def _put(self, encoder: Encoder[_Input], older: Sequence[Encoder[_Input]]) -> None:
        """Serves a model, in its own place where it is loaded again; what it supersedes goes when its time comes."""
        manifest = encoder.package.manifest
        before = self._loaded.get(manifest.id)
        loaded: dict[str, Encoder[_Input]] = {}
        for model, each in self._loaded.items():  # beside what it is a version of
            loaded |= ({manifest.id: encoder} if each in older else {}) | ({} if each is before else {model: each})
        self._loaded = loaded | {manifest.id: encoder}
        if before is not None:
            self._report.went(before, "replaced")
        succeeded = [each for each in older if each in self.encoders and each is not before]
        for each in succeeded:
            if self._versions.succeed(each.package.manifest, manifest):
                self._expire(each)

    def _expire(self, encoder: Encoder[_Input]) -> None:
        """Lets a superseded version go: at once where the budget wants its room, else when its time is over."""
        is_over = 0 < self._budget_bytes < sum(self._sizes.values()) or not self._keep_old_s
        if is_over:
            self._let_go(encoder, "replaced")
        elif self._keep_old_s < math.inf:
            asyncio.get_running_loop().call_later(self._keep_old_s, self._end_of, encoder)

    def _end_of(self, encoder: Encoder[_Input]) -> None:
        """Lets a version go whose time is over, unless it is the one that is used again."""
        manifest = encoder.package.manifest
        if encoder in self.encoders and not self._versions.is_current(manifest, self._manifests()):
            self._let_go(encoder, "replaced")

    def _let_go(self, encoder: Encoder[_Input], reason: Unload) -> None:
        del self._loaded[encoder.package.manifest.id]
        self._versions.forget(encoder.package.manifest)
        self._tell_gone(encoder, reason)

    def _tell_gone(self, encoder: Encoder[_Input], reason: Unload) -> None:
        del self._sizes[encoder.package.manifest.id]
        self._report.went(encoder, reason)
        self.changed.set()


def _check_width(manifest: Manifest, others: Sequence[Manifest]) -> None:
    """Refuses a model whose vectors could not be compared with those of its own space."""
    for other in others:
        if other.space == manifest.space and other.dim != manifest.dim:
            raise FailedPrecondition(
                f"model package {manifest.id}: field `dim` is {manifest.dim}, but {other.id} of the same space "
                f"{manifest.space} has {other.dim}; give one of them a space of its own",
                reason=Reason.PACKAGE_INVALID,
                metadata={"package": manifest.id, "space": manifest.space},
            )


def _is_meant(manifest: Manifest, model: str, task: str) -> bool:
    name, _, version = model.partition("@")
    is_named = not model or (manifest.name == name and version in ("", manifest.version))
    return is_named and task in ("", manifest.task)
