"""`sensorium models load|unload|default|remove`: what a mesh serves, changed while it runs."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sensorium.channel import Metadata, call, open_channel
from sensorium.cli import options
from sensorium.cli.connection import authorized, reaching
from sensorium.cli.failures import UsageFault
from sensorium.cli.login import with_login
from sensorium.cli.messages import plain
from sensorium.cli.output import print_json
from sensorium.cli.processes import code_root
from sensorium.v1 import model_pb2_grpc
from sensorium.v1.model_pb2 import (
    LoadModelRequest,
    LoadModelResponse,
    Model,
    SetDefaultModelRequest,
    SetDefaultModelResponse,
    UnloadModelRequest,
    UnloadModelResponse,
)

if TYPE_CHECKING:
    from sensorium.v1.model_pb2_grpc import ModelServiceAsyncStub

    _Answer = LoadModelResponse | UnloadModelResponse | SetDefaultModelResponse
    _Ask = Callable[[ModelServiceAsyncStub, Metadata], Awaitable[_Answer]]

LOAD_EPILOG = options.examples("sensorium models load minilm", "sensorium models load minilm@2")
UNLOAD_EPILOG = options.examples("sensorium models unload minilm@1")
DEFAULT_EPILOG = options.examples(
    "sensorium models default minilm       (its later versions of the same space follow)",
    "sensorium models default minilm@1     (rolls back; stays, whatever comes)",
)
REMOVE_EPILOG = options.examples(
    "sensorium models remove minilm@1", "sensorium models remove minilm@1 --models ./models"
)

_Named = Annotated[str, typer.Argument(metavar="MODEL", help="name or name@version", show_default=False)]


@with_login
def load(
    model: _Named,
    as_json: options.AsJson = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Load a package of the mesh's model folder, checked and warmed up."""
    request = LoadModelRequest(model=model)
    _change(
        "serves",
        address,
        lambda stub, metadata: call(stub.LoadModel, request, timeout_s=timeout, metadata=metadata),
        as_json=as_json,
    )


@with_login
def unload(
    model: _Named,
    as_json: options.AsJson = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Stop serving a model; calls that run on it end as they would."""
    request = UnloadModelRequest(model=model)
    _change(
        "no longer serves",
        address,
        lambda stub, metadata: call(stub.UnloadModel, request, timeout_s=timeout, metadata=metadata),
        as_json=as_json,
    )


@with_login
def default(
    model: _Named,
    as_json: options.AsJson = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Make a model the one that answers calls without a model: to roll out a version, and to roll back."""
    request = SetDefaultModelRequest(model=model)
    _change(
        "answers by default with",
        address,
        lambda stub, metadata: call(stub.SetDefaultModel, request, timeout_s=timeout, metadata=metadata),
        as_json=as_json,
    )


def remove(
    model: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="Which package.", show_default=False)],
    models: Annotated[
        Path | None,
        typer.Option(envvar="SENSORIUM_MODELS", help="The folder of packages; else that of the checkout."),
    ] = None,
) -> None:
    """Delete a package from a model folder. A mesh that watches the folder lets it go; another, when it is unloaded."""
    root = models or code_root() / "models"
    name, _, version = model.partition("@")
    folder = root / name / version
    is_inside = bool(name and version) and folder.resolve().parent.parent == root.resolve()
    if not is_inside or not (folder / "manifest.json").is_file():
        found = (file.parent for file in root.glob("*/*/manifest.json"))
        known = ", ".join(sorted(f"{each.parent.name}@{each.name}" for each in found))
        raise UsageFault(f"{model!r} is no package in {root}; there are {known or 'none'}")
    (folder / "manifest.json").unlink()  # from then on it is no package, whatever becomes of the rest
    shutil.rmtree(folder)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()
    print(f"removed {model}")


def _change(what: str, address: str, ask: _Ask, *, as_json: bool) -> None:
    """Makes a call that changes a model, and tells what came of it."""
    credentials, metadata = authorized(address)

    async def answer() -> Model:
        async with open_channel(address, credentials=credentials) as channel:
            return (await ask(model_pb2_grpc.ModelServiceStub(channel), metadata)).model

    with reaching(address):
        model = asyncio.run(answer())
    if as_json:
        print_json(plain(model))
    else:
        print(f"the mesh {what} {model.name}@{model.version}, space {model.space}, fingerprint {model.fingerprint}")
