"""`sensorium serve`: one service of the mesh, in this process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import typer

from sensorium.cli.processes import MeshError, code_root

SERVICES = {
    "text": "The text encoder.",
    "vision": "The encoder of pictures.",
    "audio": "The encoder of sounds.",
    "fusion": "The fusion of vectors: joint embeddings, bridges, heads.",
    "orchestrator": "The face of the mesh, which calls the other four.",
}

app = typer.Typer(
    name="serve",
    help="Run one service of the mesh in this process, until SIGTERM or Ctrl-C. Its flags are said by its own --help, "
    "such as: sensorium serve text --help",
    no_args_is_help=True,
)

# The service reads its own flags, --help among them.
_ITS_OWN_FLAGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _command(name: str) -> Callable[[typer.Context], None]:
    def serve(context: typer.Context) -> None:
        raise typer.Exit(run_service(name, context.args))

    serve.__doc__ = SERVICES[name]
    return serve


for _name in SERVICES:
    app.command(_name, context_settings=_ITS_OWN_FLAGS, add_help_option=False)(_command(_name))


def run_service(name: str, flags: list[str]) -> int:
    """Runs a service with its flags until it is told to stop; returns its exit code.

    Raises:
        MeshError: the services, or what this one needs, are not installed.
    """
    root = str(code_root())
    if root not in sys.path:
        sys.path.append(root)
    try:
        main: Callable[[list[str]], int] = importlib.import_module(f"services.{name}.app").main
    except ModuleNotFoundError as missing:
        raise MeshError(
            f"the {name} service needs {missing.name}, which is not installed: pip install -e '.[{name}]'"
        ) from None
    return main(flags)
