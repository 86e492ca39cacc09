"""Which model is the default of each task, and which version a name stands for: chosen, kept, and followed."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from sensorium.errors import NotFound, Reason
from sensorium.versions import version_key
from shared.hosting.state import Choices, RepositoryState
from shared.inference.manifest import Manifest


class Versions:
    """The choices among a service's models. Packages that come change none of them by their names.

    stated: models that an option makes defaults, `name` or `name@version`; they go before what was chosen earlier.
    """

    def __init__(self, state: RepositoryState, stated: Sequence[str] = ()) -> None:
        """Takes what was chosen before, and what the operator says now."""
        self._state = state
        self._stated = stated
        self._first: dict[str, str] = {}  # by task: the first model that was named to be loaded

    def others(self) -> Sequence[str]:
        """Returns the models, `name@version`, that were served beside the highest versions and are to be again."""
        choices = self._state.choices
        named = [model for model in (*self._stated, *choices.defaults.values()) if "@" in model]
        return list(dict.fromkeys((*named, *choices.versions.values(), *choices.beside)))

    def settle(self, loaded: Sequence[Manifest], wanted: Sequence[str]) -> None:
        """Gives every task a default, once the first models are loaded: a stated one, a chosen one, or the first.

        wanted: the models that were named to be loaded, the first of which is a default.

        Raises:
            NotFound: a stated default is not loaded.
        """
        defaults = self._state.choices.defaults
        for model in self._stated:
            manifest = next((each for each in loaded if model in (each.id, each.name)), None)
            if manifest is None:
                available = ", ".join(each.id for each in loaded)
                raise NotFound(
                    f"the default model {model!r} is not loaded; there are {available} (SENSORIUM_DEFAULT_MODEL)",
                    reason=Reason.MODEL_NOT_FOUND,
                    field="default_model",
                )
            defaults[manifest.task] = model
        for manifest in loaded:
            chosen = defaults.get(manifest.task, "")
            is_there = any(chosen in (each.id, each.name) for each in loaded if each.task == manifest.task)
            if is_there:
                continue
            if wanted:  # of an option, which may be another one next time
                self._first.setdefault(manifest.task, manifest.id if manifest.id in wanted else manifest.name)
            else:
                defaults[manifest.task] = manifest.name

    def choose(self, model: str, manifest: Manifest) -> None:
        """Makes a model the default of its task, as it was named: by its name, or by its version for good."""
        choices = self._state.choices
        choices.defaults[manifest.task] = model or manifest.name
        choices.versions[manifest.name] = manifest.id
        choices.beside = [each for each in choices.beside if each != manifest.id]

    def succeed(self, older: Manifest, newer: Manifest) -> bool:
        """Lets a newer version take the place of an older one; says whether it did.

        It does where vectors stay comparable, and where nobody chose the older one by its version.
        """
        choices = self._state.choices
        is_pinned = older.id in choices.defaults.values()
        is_same = (older.space, older.source_space, older.task) == (newer.space, newer.source_space, newer.task)
        is_newer = version_key(newer.version) > version_key(older.version)
        if is_same and is_newer and not is_pinned:
            choices.versions.pop(newer.name, None)
            if older.id not in choices.beside:
                choices.beside.append(older.id)
            return True
        if is_newer:
            choices.versions.setdefault(older.name, older.id)
        return False

    def forget(self, manifest: Manifest) -> None:
        """Lets go of what was chosen of a model that is served no more."""
        choices = self._state.choices
        choices.beside = [each for each in choices.beside if each != manifest.id]
        if choices.versions.get(manifest.name) == manifest.id:
            del choices.versions[manifest.name]
        if choices.defaults.get(manifest.task) == manifest.id:
            choices.defaults[manifest.task] = manifest.name

    def kept(self) -> Choices:
        """Returns a copy of the choices, for `restore`."""
        return copy.deepcopy(self._state.choices)

    def restore(self, choices: Choices) -> None:
        """Makes the choices what they were, when what went for another model is served again."""
        self._state.choices = choices

    def meant(self, model: str, matches: Sequence[Manifest]) -> Manifest:
        """Returns which of the loaded models that fit a call answers it.

        model: as the call named it; "" is the default one of the first task that fits.
        """
        if model:
            return self._current(matches)
        task = matches[0].task
        for chosen in (self._state.choices.defaults.get(task, ""), self._first.get(task, "")):
            named = [each for each in matches if chosen in (each.id, each.name) and each.task == task]
            if named:
                return self._current(named)
        return self._current([each for each in matches if each.name == matches[0].name])

    def is_default(self, manifest: Manifest, loaded: Sequence[Manifest]) -> bool:
        """Whether a model answers calls of its task that name none."""
        return self.meant("", [each for each in loaded if each.task == manifest.task]).id == manifest.id

    def is_current(self, manifest: Manifest, loaded: Sequence[Manifest]) -> bool:
        """Whether a model answers calls that give its name without a version."""
        return self._current([each for each in loaded if each.name == manifest.name]).id == manifest.id

    def save(self) -> bool:
        """Keeps the choices over restarts; says whether the folder let it."""
        return self._state.save()

    def reread(self) -> bool:
        """Whether another replica chose anew; its choices count from now on."""
        return self._state.reread()

    def _current(self, versions: Sequence[Manifest]) -> Manifest:
        """Returns the version that was chosen of a name, or else the highest."""
        chosen = self._state.choices.versions
        fitting = [each for each in versions if chosen.get(each.name) == each.id]
        return max(fitting or versions, key=lambda each: version_key(each.version))
