"""Follows files that change while the server runs, such as certificates and tokens that Kubernetes swaps."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from shared.serving.config import ConfigError

_log = logging.getLogger("sensorium.files")
_T = TypeVar("_T")

# How a change is noticed: device, inode, size, and the times of the last change of content and of anything, of each
# file. `stat` follows links: Kubernetes swaps one to a folder, and every file behind it has another inode.
_State = tuple[tuple[int, ...], ...]


class Followed(Generic[_T]):
    """What files say, read anew when they change. A change that cannot be read keeps what was there, and is logged.

    Any thread may ask. `every_s` bounds how often the files are looked at, which costs about a microsecond a file.
    """

    def __init__(self, paths: Sequence[str], read: Callable[[], _T], *, every_s: float = 1.0) -> None:
        """Reads the files for the first time.

        read: returns what they say; raises ConfigError, with the file and the fix, where it is wrong.

        Raises:
            ConfigError: as `read` does.
        """
        self._paths = [Path(path) for path in paths]
        self._read = read
        self._every_s = every_s
        self._lock = threading.Lock()
        self._state = self._seen()
        self._value = read()
        self._looked = time.monotonic()

    def current(self) -> _T:
        """Returns what the files say now, or said last when they could be read."""
        if time.monotonic() - self._looked < self._every_s:
            return self._value
        with self._lock:
            self._looked = time.monotonic()
            # The state is taken before the files are read: a change in between shows at the next look.
            state = self._seen()
            if state != self._state:
                self._state = state
                self._reload()
        return self._value

    def _reload(self) -> None:
        facts = {"files": ", ".join(str(path) for path in self._paths)}
        try:
            self._value = self._read()
        except ConfigError as fault:
            _log.error("changed files cannot be used, so what they said before stays: %s", fault, extra={"f": facts})
        else:
            _log.info("read changed files", extra={"f": facts})

    def _seen(self) -> _State:
        return tuple(_state(path) for path in self._paths)


def _state(path: Path) -> tuple[int, ...]:
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return ()


def read_file(path: str, option: str, most_bytes: int = 1 << 20) -> bytes:
    """Returns the bytes of a file that an option names.

    Raises:
        ConfigError: it cannot be read, is empty or is over `most_bytes`; the message names option and file.
    """
    name = f"{path} (SENSORIUM_{option.upper()})"
    try:
        with Path(path).open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as fault:
        raise ConfigError(f"{name} cannot be read: {fault.strerror or fault}; is it there, and readable?") from None
    if not content.strip():
        raise ConfigError(f"{name} is empty")
    if len(content) > most_bytes:
        raise ConfigError(f"{name} is over {most_bytes} bytes; is it the right file?")
    return content
