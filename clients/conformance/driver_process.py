"""Runs a driver as a child process, and asks it one case after the other, each bounded in time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from clients.conformance.case import Case

_EXTRA_S = 20.0  # beyond a case's deadline: the start of an interpreter, and a slow machine
_END_S = 10.0
_LAST_LINES = 5


class DriverError(Exception):
    """The driver ended, hung or wrote what is no answer; the message says which, with its last words."""


class DriverProcess:
    """A driver that runs until the block is left."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        """Starts it.

        log: where its stderr goes.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603  # a driver that the caller has built
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def __enter__(self) -> Self:
        """Yields itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Kills whatever is left."""
        self._kill()
        self._process.wait()
        self._stdout.close()
        with contextlib.suppress(BrokenPipeError):  # what it did not read is lost with it
            self._stdin.close()

    def ask(self, case: Case) -> Mapping[str, Any]:
        """Returns the driver's answer to a case. Any: JSON.

        Raises:
            DriverError: there is none in time, or it is no JSON object.
        """
        limit_s = case.deadline_ms / 1000 + _EXTRA_S
        line = self._bounded(case.line().encode() + b"\n", limit_s)
        try:
            answer = json.loads(line)
        except ValueError:
            raise DriverError(f"wrote what is no JSON: {line[:200]!r}; {self._last_words()}") from None
        if not isinstance(answer, dict):
            raise DriverError(f"wrote no object: {line[:200]!r}")
        return answer

    def end(self) -> str:
        """Ends stdin and returns what was wrong with how the driver ended; "" where nothing was."""
        self._stdin.close()
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return f"did not end within {_END_S:.0f} s of the end of its stdin"
        return f"ended with exit code {code}; {self._last_words()}" if code else ""

    def _bounded(self, line: bytes, limit_s: float) -> bytes:
        timer = threading.Timer(limit_s, self._kill)  # which ends both the writing and the reading
        timer.start()
        try:
            self._stdin.write(line)
            self._stdin.flush()
            answer = self._stdout.readline()
        except BrokenPipeError:
            answer = b""
        finally:
            is_late = not timer.is_alive()
            timer.cancel()
        if is_late:
            raise DriverError(f"did not answer within {limit_s:.0f} s")
        if not answer.endswith(b"\n"):
            raise DriverError(f"ended before it answered; {self._last_words()}")
        return answer

    def _kill(self) -> None:
        """Ends the driver and what it started: a wrapper may have a child."""
        with contextlib.suppress(ProcessLookupError):  # gone already
            os.killpg(self._process.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:]
        return f"its last words: {' | '.join(lines) or 'none'}"
