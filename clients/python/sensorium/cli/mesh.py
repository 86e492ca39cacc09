"""Runs a whole mesh on this machine: the four encoders side by side, then the orchestrator, each a process."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sensorium.cli.packages import served_by
from sensorium.cli.processes import MeshError, ServiceProcess
from sensorium.cli.securing import Security

__all__ = ["Mesh", "MeshError", "ServiceProcess", "running_mesh"]

OnState = Callable[[ServiceProcess, str], None]

ENCODERS = ("text", "vision", "audio", "fusion")
_GRACE_S = 30.0  # above a service's own drain_grace_s of 25, after which it cancels what still runs


@dataclass(frozen=True)
class Mesh:
    """A mesh whose services all answer.

    address: where the orchestrator listens: what a client is given.
    services: the encoders and the orchestrator, which is the last; an entry is replaced when its process is.
    log_dir: the folder with one log a service.
    left_out: the services that were not started, since the models have no package for them.
    """

    address: str
    services: list[ServiceProcess]
    log_dir: Path
    left_out: Sequence[str] = ()

    def service(self, name: str) -> ServiceProcess:
        """Returns the process of one service, by its name."""
        return next(each for each in self.services if each.name == name)


@contextlib.contextmanager
def running_mesh(
    models: Path | None = None,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    log_dir: Path | None = None,
    start_timeout_s: float = 60.0,
    on_exit: Callable[[ServiceProcess], None] | None = None,
    on_state: OnState | None = None,
    security: Security | None = None,
) -> Iterator[Mesh]:
    """Runs the five services until the block is left, and yields once all of them answer.

    models: the folder of model packages; None takes those that ship with the code. A service that none of them is for
        is left out.
    port: the orchestrator's; the others get free ports next to it. 0 takes free ones for all.
    host: the address that the orchestrator listens on; the encoders are for this machine alone.
    log_dir: where the logs go; None makes a temporary folder, which is deleted unless the block raises.
    start_timeout_s: how long all services together may take until they answer.
    on_exit: told, from another thread, of every process that ends, also of those that end because they should.
    on_state: told of every service that is now `starting`, `serving`, `stopping` or `stopped`.
    security: what secures it; None leaves that to this process's environment.

    Raises:
        MeshError: the services' code is not here, no package is for an encoder, or one of the services does not start;
            what had started is stopped.
    """
    told = on_state or _nobody
    names = ENCODERS if models is None else _wanted(models)
    ports = _ports(host, port, len(names))
    with _log_folder(log_dir) as folder:
        services: list[ServiceProcess] = []

        def launch(name: str, place: tuple[str, int, int], environ: Mapping[str, str]) -> None:
            if security is not None:
                environ = {**environ, **(security.orchestrator if name == "orchestrator" else security.encoders)}
            services.append(ServiceProcess(name, place, environ, folder / f"{name}.log", on_exit))
            told(services[-1], "starting")

        try:
            places = {name: ("127.0.0.1", *pair) for name, pair in zip(names, ports[1:], strict=True)}
            _start(launch, services, places, (host, *ports[0]), models, start_timeout_s, told)
            yield Mesh(services[-1].address, services, folder, [name for name in ENCODERS if name not in names])
        finally:
            stop(services, told)


def _start(
    launch: Callable[[str, tuple[str, int, int], Mapping[str, str]], None],
    services: Sequence[ServiceProcess],
    places: Mapping[str, tuple[str, int, int]],
    orchestrator: tuple[str, int, int],
    models: Path | None,
    timeout_s: float,
    told: OnState,
) -> None:
    """Launches the encoders, which appear in `services`, waits for all of them, and then the orchestrator.

    places: host, port and metrics port of each encoder; `orchestrator`: those of the orchestrator.
    """
    deadline = time.monotonic() + timeout_s

    def wait(starting: Sequence[ServiceProcess]) -> None:
        for service in starting:
            service.wait_until_serving(max(deadline - time.monotonic(), 0.001))
            told(service, "serving")

    environ = {"SENSORIUM_MODELS": str(models.resolve())} if models else {}
    for name, place in places.items():
        launch(name, place, environ)
    wait(services)
    launch("orchestrator", orchestrator, {f"SENSORIUM_{each.name.upper()}_ADDR": each.address for each in services})
    wait(services[-1:])


def stop(services: Sequence[ServiceProcess], told: OnState) -> None:
    """Drains the orchestrator, so that its calls still find the encoders, then the encoders; kills what stays."""
    deadline = time.monotonic() + _GRACE_S
    try:
        faces = [service for service in services if service.name == "orchestrator"]
        for group in (faces, [service for service in services if service not in faces]):
            for service in group:
                told(service, "stopping")
                service.terminate()
            for service in group:
                service.wait(deadline - time.monotonic())
                told(service, "stopped")
    finally:
        for service in services:  # none is left, unless a second Ctrl-C came in between: then there is no time to drain
            service.wait(0.0)


def _wanted(models: Path) -> Sequence[str]:
    """Returns the encoders that a folder of models has packages for."""
    if not models.is_dir():
        raise MeshError(f"there is no folder {models} (--models, SENSORIUM_MODELS)")
    served = served_by(models)
    if not served - {"fusion"}:
        raise MeshError(f"{models} has no package of an encoder; `sensorium models add` makes one (--models)")
    return [name for name in ENCODERS if name in served]


def _ports(host: str, port: int, encoder_count: int) -> list[tuple[int, int]]:
    """Returns a port and a metrics port for the orchestrator, then for each encoder; 0 is for the child to choose.

    Fixed ports are neighbours, as far as they are free: a service that is started again must find its port free, which
    one from the range that the system gives to connections may not be.
    """
    if port == 0:
        return [(0, 0)] * (1 + encoder_count)
    if not _is_free(port, host):
        raise MeshError(f"port {port} of {host} is taken: does a mesh run already? Choose another --port")
    count = 1 + 2 * encoder_count
    free = [each for each in range(port + 1, min(port + 100, 65_536)) if _is_free(each, host, "127.0.0.1")][:count]
    if len(free) < count:
        raise MeshError(f"there are no {count} free ports above {port}; choose another --port")
    return [(port, free[0]), *zip(free[1::2], free[2::2], strict=True)]


def _is_free(port: int, *hosts: str) -> bool:
    for host in hosts:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), port))
            except OSError:
                return False
    return True


@contextlib.contextmanager
def _log_folder(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
        yield wanted
        return
    made = Path(tempfile.mkdtemp(prefix="sensorium-"))
    try:
        yield made
    except Exception:
        raise  # the logs stay: they are what is needed now
    except BaseException:  # an interrupt, or an exit
        shutil.rmtree(made, ignore_errors=True)
        raise
    shutil.rmtree(made, ignore_errors=True)


def _nobody(service: ServiceProcess, state: str) -> None:
    """Is told, and does nothing."""
