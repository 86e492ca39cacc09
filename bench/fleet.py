"""Keeps the servers of a cell running side by side, and starts one again only where its setting changes."""

from __future__ import annotations

import contextlib
import re
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.environments import python_of
from bench.inputs import TEXTS, Inputs
from bench.load.calls import Load, Outcome
from bench.load.generate import measure
from bench.models.folder import Models
from bench.processes import pss_mb
from bench.systems.system import Server, Setting, System, SystemFault, aimed, check, serving

_PADDING = re.compile(r"^sensorium_batch_padding_ratio_(sum|count)\S* (\S+)$", re.MULTILINE)


class Fleet:
    """Servers by the name of their system. A context manager: it stops them all."""

    def __init__(self, models: Models, told: Callable[[str], None]) -> None:
        """Starts nothing yet. `told` hears of what does not start or answers wrongly; `faults` keeps it."""
        self._models, self._told = models, told
        self._running: dict[str, tuple[Setting, Server, contextlib.ExitStack]] = {}
        self._checked: set[str] = set()
        self._inputs: Inputs | None = None
        self._expected: Sequence[NDArray[np.float32]] = ()
        self.faults: dict[str, str] = {}

    def __enter__(self) -> Fleet:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stops all servers."""
        self.keep_only([])

    def take(self, inputs: Inputs, expected: Sequence[NDArray[np.float32]]) -> None:
        """Turns to inputs of another kind; servers of texts go on for all kinds of texts.

        expected: rows of length 1 for the first inputs.
        """
        is_text = inputs.kind in TEXTS
        if not (is_text and self._inputs is not None and self._inputs.kind in TEXTS):
            self.keep_only([])
        self._inputs, self._expected = inputs, expected
        self._checked.clear()

    def server(self, system: System, setting: Setting) -> Server | None:
        """Returns the system running with the setting; None where it does not start or answers wrongly."""
        if system.name in self.faults:
            return None
        try:
            server = self._started(system, setting)
            if system.name not in self._checked:
                check(system, server, self._expected)
                self._checked.add(system.name)
        except (SystemFault, OSError) as fault:
            self.faults[system.name] = str(fault)
            self._told(f"{system.name}: {fault}")
            self.stop(system.name)
            return None
        return server

    def _started(self, system: System, setting: Setting) -> Server:
        assert self._inputs is not None, "`take` comes first"
        kind, payloads = self._inputs.kind, self._inputs.payloads
        if system.name in self._running and self._running[system.name][0] == setting:
            server = self._running[system.name][1]
            return replace(server, target=aimed(system, server.target.port, kind, payloads))
        self.stop(system.name)
        with contextlib.ExitStack() as stack:
            running = serving(system, setting, kind, self._models, python_of(system), payloads)
            server = stack.enter_context(running)
            self._running[system.name] = setting, server, stack.pop_all()
        return server

    def stop(self, name: str) -> None:
        """Stops one server, if it runs."""
        if name in self._running:
            self._checked.discard(name)
            self._running.pop(name)[2].close()

    def keep_only(self, systems: Sequence[System]) -> None:
        """Stops the servers of all other systems."""
        names = {system.name for system in systems}
        for name in set(self._running) - names:
            self.stop(name)


def measured(server: Server, load: Load) -> tuple[Outcome, float | None, float]:
    """Returns the outcome of a load, the padded over real cost within it, and the memory after it in MB."""
    before = _padding(server)
    outcome = measure(server.target, load)
    after = _padding(server)
    count = after.get("count", 0.0) - before.get("count", 0.0)
    padding = (after["sum"] - before["sum"]) / count if count else None
    return outcome, padding, sum(map(pss_mb, server.pids))


def _padding(server: Server) -> Mapping[str, float]:
    if not server.metrics_port:
        return {}
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=5) as page:
        return {name: float(value) for name, value in _PADDING.findall(page.read().decode())}
