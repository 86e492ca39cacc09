"""Keeps a mesh whole: starts again, on its old port, whatever dies, and stops trying what cannot stay up."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from sensorium.cli.mesh import Mesh, OnState
from sensorium.cli.processes import MeshError, ServiceProcess

# Guesses: the first restart comes soon enough for a caller that waits a second or two, the last leaves time to look.
_FIRST_DELAY_S = 0.2
_MOST_DELAY_S = 10.0
_STEADY_S = 60.0  # who served so long is not in a row of failures
_START_TIMEOUT_S = 60.0
# A signal that comes in the instant before a wait is handled after it (Python runs handlers between instructions), so
# a wait without end could miss the wish to stop for ever. Seen: one SIGHUP in twenty.
_MOST_WAIT_S = 0.25


@dataclass
class _Record:
    """How often a service was started again in a row, when it last served, and when it is due again."""

    tries: int = 0
    served_at: float = 0.0
    due: float | None = None


@dataclass
class Supervisor:
    """Waits for what happens to a mesh: a process that ends, or the wish to stop.

    most_tries: how often in a row a service is started again before it is given up.
    on_state: told of `died`, `starting`, `serving` and `gave up`.
    is_keeping: whether the mesh is up, and kept.
    events: processes that ended, from any thread; None is the wish to stop, which a signal handler may put, too.
    """

    on_state: OnState
    most_tries: int = 8  # with the delays above about half a minute
    events: SimpleQueue[ServiceProcess | None] = field(default_factory=SimpleQueue)
    is_keeping: bool = False
    _records: dict[str, _Record] = field(default_factory=dict)

    def keep(self, mesh: Mesh) -> bool:
        """Keeps the mesh whole until somebody wishes to stop; False where the orchestrator could not be kept."""
        self.is_keeping = True
        now = time.monotonic()
        self._records = {service.name: _Record(served_at=now) for service in mesh.services}
        while True:
            try:
                ended = self.events.get(timeout=self._wait_s())
            except Empty:
                self._start_due(mesh)
                continue
            if ended is None:
                return True
            if ended in mesh.services and not self._plan(ended):
                return False

    def _plan(self, ended: ServiceProcess) -> bool:
        """Notes when a service is to be started again; False where it is the orchestrator and not to be."""
        record = self._records[ended.name]
        now = time.monotonic()
        if record.served_at and now - record.served_at > _STEADY_S:
            record.tries = 0
        record.served_at = 0.0
        self.on_state(ended, "died")
        if record.tries == self.most_tries:
            self.on_state(ended, "gave up")
            return ended.name != "orchestrator"
        record.due = now + min(_FIRST_DELAY_S * 2**record.tries, _MOST_DELAY_S)
        record.tries += 1
        return True

    def _wait_s(self) -> float:
        dues = [record.due - time.monotonic() for record in self._records.values() if record.due is not None]
        return max(min([*dues, _MOST_WAIT_S]), 0.0)

    def _start_due(self, mesh: Mesh) -> None:
        for place, service in enumerate(mesh.services):
            record = self._records[service.name]
            if record.due is not None and record.due <= time.monotonic():
                record.due = None
                mesh.services[place] = service.successor()
                self.on_state(mesh.services[place], "starting")
                threading.Thread(target=self._see_it_serve, args=[mesh.services[place], record], daemon=True).start()

    def _see_it_serve(self, service: ServiceProcess, record: _Record) -> None:
        """Tells when a service serves again; one that does not in time is ended, which is an event like any end."""
        try:
            service.wait_until_serving(_START_TIMEOUT_S)
        except MeshError:
            service.wait(0.0)
        else:
            record.served_at = time.monotonic()
            self.on_state(service, "serving")
