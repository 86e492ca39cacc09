"""`sensorium up`: the whole mesh on this machine, until Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sensorium.cli import options
from sensorium.cli.mesh import Mesh, MeshError, running_mesh
from sensorium.cli.output import table
from sensorium.cli.processes import ServiceProcess
from sensorium.cli.securing import Security, secured
from sensorium.cli.supervise import Supervisor

EPILOG = options.examples(
    "sensorium up",
    "sensorium up --port 9000 --models ./my-models --log-dir ./logs",
    "sensorium up --host 0.0.0.0   (others may call the orchestrator; the encoders stay private)",
    "sensorium up --tls --tokens tokens   (a secured mesh to try out; says how to call it)",
)
_STYLES = {"serving": "green", "starting": "yellow", "stopping": "yellow", "stopped": "dim"}

_Port = Annotated[
    int,
    typer.Option(min=0, max=65_535, help="Port of the orchestrator; the others get free ones next to it. 0: all free."),
]
_Models = Annotated[
    Path | None,
    typer.Option(
        envvar="SENSORIUM_MODELS", exists=True, file_okay=False, help="Folder of model packages; else those that ship."
    ),
]
_LogDir = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Folder for the services' logs; else a temporary one.", show_default=False),
]


def up(
    port: _Port = 8001,
    host: Annotated[str, typer.Option(help="Address that the orchestrator listens on.")] = "127.0.0.1",
    models: _Models = None,
    log_dir: _LogDir = None,
    start_timeout: Annotated[float, typer.Option(min=1, help="Seconds until all services must answer.")] = 60.0,
    tls: Annotated[
        bool, typer.Option("--tls", help="TLS on every hop, with certificates of an authority made to try it out.")
    ] = False,
    tls_dir: Annotated[
        Path, typer.Option(metavar="DIR", file_okay=False, help="Where --tls keeps authority, certificates and keys.")
    ] = Path("sensorium-tls"),
    tokens: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Let in who sends a token of this file; one that is not there is made, with a token in FILE.token.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the whole mesh on this machine: five services, each a process, that are started again when they die.

    A service that the models have no package for is left out.

    Ctrl-C, SIGTERM or a closed terminal drains it: calls that run come to their end. A second one ends them at once.
    """
    security = secured(tls_dir if tls else None, tokens) if tls or tokens else None
    board = _Board()
    supervisor = Supervisor(board.note)
    with _signals(board, supervisor), board.shown():
        try:
            with running_mesh(
                models,
                port=port,
                host=host,
                log_dir=log_dir,
                start_timeout_s=start_timeout,
                on_exit=supervisor.events.put,
                on_state=board.note,
                security=security,
            ) as mesh:
                port = mesh.service("orchestrator").port
                board.say(
                    f"the mesh answers at localhost:{port}; the logs are in {mesh.log_dir}{_without(mesh)}"
                    f"{_how_to_call(port, security)}"
                )
                if not supervisor.keep(mesh):
                    raise MeshError(f"the orchestrator does not stay up; see {mesh.services[-1].log}")
        except MeshError:
            if not board.is_stopping:  # else it was stopped while it started, and that is all
                raise
        board.say("the mesh is stopped")


def _without(mesh: Mesh) -> str:
    """Returns what is said of the services that were left out, if any."""
    if not mesh.left_out:
        return ""
    return f"; left out, since no model package is for it: {', '.join(mesh.left_out)}"


def _how_to_call(port: int, security: Security | None) -> str:
    """Returns what is said of how a secured mesh is called."""
    if security is None:
        return ""
    return f"\ncall it with: sensorium status --address localhost:{port} {' '.join(security.client)}"


class _Board:
    """Shows how the services fare: a table that changes in place on a terminal, a line a change elsewhere."""

    def __init__(self) -> None:
        self.processes: dict[str, ServiceProcess] = {}
        self.is_stopping = False
        self._states: dict[str, str] = {}
        self._restarts: dict[str, int] = {}
        self._message = "starting (Ctrl-C stops)"
        self._lock = threading.Lock()
        self._live = Live(console=Console(highlight=False), auto_refresh=False) if sys.stdout.isatty() else None

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Shows the table for the length of the block, on a terminal."""
        if self._live is None:
            yield
            return
        with self._live:
            yield

    def note(self, service: ServiceProcess, state: str) -> None:
        """Takes the new state of a service; any thread may call."""
        with self._lock:
            if state == "starting" and service.name in self.processes:
                self._restarts[service.name] = self._restarts.get(service.name, 0) + 1
            self.processes[service.name] = service
            self._states[service.name] = state
            if state == "stopping":
                self._message = "stopping (Ctrl-C again: at once)"
        ports = f", port {service.port}, metrics {service.metrics_port}" if state == "serving" else ""
        code = f", exit code {service.process.returncode}" if state == "died" else ""
        self._show(f"{service.name}: {state} (pid {service.pid}{ports}{code})")

    def say(self, message: str) -> None:
        """Shows a message below the table."""
        self._message = message
        self._show(message)

    def _show(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError):  # the terminal was closed: there is nobody to tell
            if self._live is None:
                print(line, flush=True)
            else:
                self._live.update(Group(self._table(), Text(self._message)), refresh=True)

    def _table(self) -> Table:
        rows = table("service", "state", "port#", "metrics#", "pid#", "restarts#")
        for name, service in self.processes.items():
            state = Text(self._states[name], style=_STYLES.get(self._states[name], "red"))
            rows.add_row(name, state, str(service.port or ""), str(service.metrics_port or ""), str(service.pid),
                         str(self._restarts.get(name, 0)))  # fmt: skip
        return rows


@contextlib.contextmanager
def _signals(board: _Board, supervisor: Supervisor) -> Iterator[None]:
    """Makes SIGTERM, Ctrl-C and SIGHUP wishes to stop, for the length of the block; `nohup` is left its way.

    The handler raises nothing: an exception between the birth of a child and its entry in the list would leave it
    behind.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        is_second, board.is_stopping = board.is_stopping, True
        supervisor.events.put(None)
        # A service that starts has no calls to lose; one that is told twice ends those that it has.
        if is_second or not supervisor.is_keeping:
            for service in list(board.processes.values()):
                service.terminate()

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    old = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
