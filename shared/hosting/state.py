"""What a service remembers of its models over restarts, in a file beside them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

_log = logging.getLogger("sensorium.models")

_UNREADABLE = (OSError, ValueError, RecursionError, msgspec.MsgspecError)


@dataclass(slots=True)
class Choices:
    """What was chosen among the models of a service.

    defaults: by task, the model that answers calls without one: a name, which follows its versions, or `name@version`.
    versions: by name, the `name@version` that answers calls with a name alone, where it is not the highest.
    beside: older versions that stay served.
    """

    defaults: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    beside: list[str] = field(default_factory=list)


class RepositoryState:
    """The choices of one service, kept in `<models>/.<service>.state.json`.

    Several replicas may share the folder: whoever writes last is followed by the others, who look for changes.
    """

    def __init__(self, models: Path, service: str) -> None:
        """Reads what is there; nothing, or what cannot be read, counts as no choice."""
        self._file = models / f".{service}.state.json"
        self._stamp = (0, 0)
        self.choices = Choices()
        self.reread()

    def reread(self) -> bool:
        """Reads the file again where it was written by another; says whether it was."""
        try:
            found = self._file.stat()
        except OSError:
            return False
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.choices = _read(self._file.read_bytes())
        except _UNREADABLE as fault:
            _log.warning(
                "the state of the models cannot be read", exc_info=fault, extra={"f": {"file": self._file.name}}
            )
            return False
        return True

    def save(self) -> bool:
        """Writes the file at once, as a rename does; says whether the folder let it. Waits for the disk."""
        if self._file.is_file() and _read_or_none(self._file) == self.choices:
            return True
        try:
            handle, fresh = tempfile.mkstemp(dir=self._file.parent, prefix=self._file.name)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(_plain(self.choices), file, indent=2)
            Path(fresh).chmod(0o644)  # other replicas may run as other users
            os.replace(fresh, self._file)  # noqa: PTH105  # of a path that tempfile made
            found = self._file.stat()
        except OSError:
            return False
        self._stamp = (found.st_mtime_ns, found.st_ino)
        return True


def _plain(choices: Choices) -> dict[str, object]:
    return {"defaults": choices.defaults, "versions": choices.versions, "beside": choices.beside}


def _read_or_none(file: Path) -> Choices | None:
    with contextlib.suppress(*_UNREADABLE):
        return _read(file.read_bytes())
    return None


def _read(data: bytes) -> Choices:
    """Returns the choices in a file; raises MsgspecError, ValueError or RecursionError where it holds others."""
    return msgspec.json.decode(data, type=Choices)
