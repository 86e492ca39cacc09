"""`sensorium status`: the mesh as it is now."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.text import Text

from sensorium.cli import options
from sensorium.cli.connection import connected
from sensorium.cli.failures import OK, SOME_FAILED
from sensorium.cli.messages import enum_name, plain
from sensorium.cli.output import console, print_json, table
from sensorium.v1.content_pb2 import Modality
from sensorium.v1.model_pb2 import Model
from sensorium.v1.orchestrator_pb2 import SERVICE_STATE_SERVING, DescribeResponse, ServiceState

EPILOG = options.examples(
    "sensorium status",
    "sensorium status --json --address gpu-box:8001",
    "sensorium status > /dev/null && echo every service serves",
)


def status(
    as_json: options.AsJson = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Show the services, models and embedding spaces of a mesh; exits with 1 if a service does not serve."""
    with connected(address, timeout) as client:
        mesh = client.describe()
    if as_json:
        print_json(plain(mesh))
    else:
        _show(mesh, address)
    is_whole = all(service.state == SERVICE_STATE_SERVING for service in mesh.services)
    raise typer.Exit(OK if is_whole else SOME_FAILED)


def _named(model: Model, among: Sequence[Model]) -> str:
    """Returns a model's name and version, and that it is the default where another could be."""
    is_one_of_many = sum(each.task == model.task for each in among) > 1
    return f"{model.name}@{model.version}{' (default)' if model.is_default and is_one_of_many else ''}"


def _show(mesh: DescribeResponse, address: str) -> None:
    services = table("service", "state", "address", "models")
    for service in mesh.services:
        is_serving = service.state == SERVICE_STATE_SERVING
        state = Text(enum_name(ServiceState.DESCRIPTOR, service.state), style="green" if is_serving else "red")
        models = ", ".join(_named(model, list(service.models)) for model in service.models)
        services.add_row(service.name, state, service.address or address, models)
        if service.problem:
            services.add_row("", Text(service.problem, style="red"), "", "")
    spaces = table("space", "dim#", "takes", "fuses")
    for space in mesh.spaces:
        takes = ", ".join(enum_name(Modality.DESCRIPTOR, each) for each in space.modalities)
        spaces.add_row(space.name, str(space.dim), takes, "yes" if space.can_fuse else "no")
    out = console()
    out.print(services)
    out.print()
    out.print(spaces)
    limits = mesh.limits
    out.print(
        f"\nSensorium {mesh.version}; a call takes up to {limits.max_items} items and "
        f"{limits.max_message_bytes // 2**20} MiB, and {mesh.default_deadline_ms / 1000:g} s where it says no deadline"
    )
