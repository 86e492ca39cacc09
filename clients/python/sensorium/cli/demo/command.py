"""The command `sensorium demo`: a mesh, the tour, the page, and everything stopped again."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

import sensorium
from sensorium.cli import options
from sensorium.cli.connection import reaching
from sensorium.cli.demo.page import render
from sensorium.cli.demo.results import Tour
from sensorium.cli.demo.samples import SamplesError, load_samples
from sensorium.cli.demo.tables import show_step
from sensorium.cli.demo.tour import StepFailed, take_tour
from sensorium.cli.failures import UNAVAILABLE, USAGE, code_of, say
from sensorium.cli.mesh import MeshError, ServiceProcess, running_mesh
from sensorium.cli.output import console as make_console

EPILOG = options.examples(
    "sensorium demo",
    "sensorium demo --report tour.html",
    "sensorium demo --address localhost:8001   (a mesh that runs already)",
)
_CHECKOUT = Path(sensorium.__file__).resolve().parents[3]  # where an editable install has its code


def demo(
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Ask the mesh that runs there, instead of starting one.")
    ] = "",
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page to write; else demo/report.html of the checkout.")
    ] = None,
    models: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The model packages; else those of the checkout.")
    ] = None,
) -> None:
    """Takes a tour of seconds: starts the mesh, asks it about samples, writes a page of what it said, and stops it."""
    console = make_console()
    page = report or _CHECKOUT / "demo" / "report.html"
    started = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _leave)
    try:
        _run(console, address, page, models)
    except (SamplesError, MeshError, StepFailed, sensorium.SensoriumError, OSError) as fault:
        said = f"{fault.filename}: {fault.strerror}" if isinstance(fault, OSError) else fault
        say(f"the demo failed: {said}")
        raise typer.Exit(_exit_code(fault)) from None
    console.print(f"\nThe page: [bold]{escape(_short(page))}[/]  [dim]({time.monotonic() - started:.1f} s in all)[/]")


def _run(console: Console, address: str, page: Path, models: Path | None) -> None:
    samples = load_samples(_CHECKOUT / "demo" / "inputs")
    page.parent.mkdir(parents=True, exist_ok=True)
    with _mesh(console, address, models) as where, sensorium.Client(where) as client:
        mesh = client.describe()
        tour = take_tour(client, samples, lambda number, step: show_step(console, number, step))
        _show_total(console, tour)
        page.write_text(render(tour, mesh, datetime.now().astimezone()), encoding="utf-8")


def _exit_code(fault: Exception) -> int:
    """Returns the exit code of a demo that failed, as `options.examples` says them."""
    if isinstance(fault, StepFailed):
        return code_of(fault.error)
    if isinstance(fault, sensorium.SensoriumError):
        return code_of(fault)
    return UNAVAILABLE if isinstance(fault, MeshError) else USAGE


def _short(path: Path) -> str:
    """Returns a path as seen from where the user stands, if it lies there."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _show_total(console: Console, tour: Tour) -> None:
    calls = [call for step in tour.steps for call in step.calls] + list(tour.calls)
    spent_ms = sum(call.wall_ms for call in calls)
    console.print(f"\n{len(calls)} calls took {spent_ms:.0f} ms. The page has more: all samples against each other.\n")


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """Leaves as Ctrl-C does, through the blocks that stop the services."""
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _mesh(console: Console, address: str, models: Path | None) -> Iterator[str]:
    """Yields the address of a mesh: of the one that is named, or of one that runs for as long as the block."""
    if address:
        with reaching(address):
            yield address
        return
    started = time.monotonic()
    with console.status("Starting the mesh") as status:

        def show(service: ServiceProcess, state: str) -> None:
            status.update(f"{state.capitalize()}: {service.name}")
            if state in ("serving", "stopped"):
                console.print(f"[dim]{time.monotonic() - started:5.1f} s[/]  {service.name} {state}")

        with running_mesh(models, on_state=show) as mesh:
            status.stop()
            try:
                yield mesh.address
            except Exception:
                console.print(f"[dim]What the services wrote is in {escape(str(mesh.log_dir))}[/]")
                raise
            finally:
                status.start()
