"""`sensorium models`: those that a mesh serves, and packages on disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.text import Text

from sensorium.channel import Metadata, call, open_channel
from sensorium.cli import models_add, models_change, models_golden, models_quantize, options
from sensorium.cli.connection import authorized, reaching
from sensorium.cli.failures import OK, SOME_FAILED, UsageFault
from sensorium.cli.login import with_login
from sensorium.cli.messages import enum_name, plain
from sensorium.cli.output import console, print_json, table
from sensorium.cli.processes import MeshError, code_root
from sensorium.errors import SensoriumError
from sensorium.v1 import model_pb2, model_pb2_grpc
from sensorium.v1.content_pb2 import MODALITY_UNSPECIFIED, Modality
from sensorium.v1.model_pb2 import GetModelRequest, ListModelsRequest, Model, ModelState, ModelTask

if TYPE_CHECKING:
    from sensorium.v1.model_pb2_grpc import ModelServiceAsyncStub

_T = TypeVar("_T")
_MOST_PAGES = 1000

LIST_EPILOG = options.examples("sensorium models list", "sensorium models list --json")
SHOW_EPILOG = options.examples("sensorium models show tiny-text", "sensorium models show tiny-text@1 --json")
VERIFY_EPILOG = options.examples(
    "sensorium models verify   (all packages)",
    "sensorium models verify tiny-text tiny-vision@1",
    "sensorium models verify ./my-models/clip/1",
    "sensorium models verify minilm --golden reference.json   (exits with 1 where a vector is another)",
)

app = typer.Typer(name="models", help="The models of a mesh, and model packages on disk.", no_args_is_help=True)

app.command("add", epilog=models_add.EPILOG)(models_add.add)
app.command("quantize", epilog=models_quantize.EPILOG)(models_quantize.quantize)
app.command("load", epilog=models_change.LOAD_EPILOG)(models_change.load)
app.command("unload", epilog=models_change.UNLOAD_EPILOG)(models_change.unload)
app.command("default", epilog=models_change.DEFAULT_EPILOG)(models_change.default)
app.command("remove", epilog=models_change.REMOVE_EPILOG)(models_change.remove)


@app.command("list", epilog=LIST_EPILOG)
@with_login
def list_models(
    as_json: options.AsJson = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """List the models that a mesh serves."""

    async def all_pages(stub: ModelServiceAsyncStub, metadata: Metadata) -> list[Model]:
        models: list[Model] = []
        token = ""
        for _ in range(_MOST_PAGES):
            asked = ListModelsRequest(page_token=token)
            page = await call(stub.ListModels, asked, timeout_s=timeout, metadata=metadata)
            models += page.models
            token = page.next_page_token
            if not token:
                break
        return models

    models = _asked(address, all_pages)
    if as_json:
        print_json([plain(model) for model in models])
        return
    rows = table("model", "task", "takes", "space", "dim#", "state", "runs", "fingerprint", "licence")
    for model in models:
        is_ready = model.state == model_pb2.MODEL_STATE_READY
        said = enum_name(ModelState.DESCRIPTOR, model.state) + (", default" if model.is_default else "")
        state = Text(said, style="green" if is_ready else "red")
        task = enum_name(ModelTask.DESCRIPTOR, model.task)
        rows.add_row(f"{model.name}@{model.version}", task, _takes(model), model.space,
                     str(model.dim), state, _runs(model), model.fingerprint, model.licence)  # fmt: skip
    console().print(rows)


@app.command(epilog=SHOW_EPILOG)
@with_login
def show(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="name or name@version", show_default=False)],
    as_json: options.AsJson = False,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
) -> None:
    """Show all that a mesh says of one model."""

    async def one(stub: ModelServiceAsyncStub, metadata: Metadata) -> Model:
        answer = await call(stub.GetModel, GetModelRequest(model=model), timeout_s=timeout, metadata=metadata)
        return answer.model

    facts = plain(_asked(address, one))
    if as_json:
        print_json(facts)
        return
    rows = table("", "")
    for name, value in facts.items():
        if value not in ("", [], 0, "unspecified"):
            rows.add_row(name, Text(_said(value)))
    console().print(rows)


@app.command(epilog=VERIFY_EPILOG)
def verify(
    packages: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME|PATH...", help="Packages by name, name@version or folder; none means all."),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(envvar="SENSORIUM_MODELS", help="The folder of packages; else that of the checkout."),
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Hold one package to a reference's vectors: docs/adding-models.md."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Check packages on disk: manifest, hash of every file, and that the model answers. Exits with 1 on a bad one."""
    if golden:
        models_golden.verify(golden, packages or (), models, as_json=as_json)
    code_root()  # says so where only the client is installed
    from shared.inference.manifest import printable
    from shared.inference.package import find_packages

    root = models or code_root() / "models"
    folders = [models_golden.package_folder(root, each) for each in packages or ()] or find_packages(root)
    if not folders:
        raise UsageFault(f"there is no model package below {root}")
    found = {folder: _problem(folder) for folder in folders}
    if as_json:
        facts = [(_label(at), printable(str(at)), problem) for at, problem in found.items()]
        print_json([{"package": label, "folder": at, "problem": problem} for label, at, problem in facts])
    else:
        rows = table("package", "verdict", "folder")
        for folder, problem in found.items():
            verdict = Text(problem, style="red") if problem else Text("good", style="green")
            rows.add_row(_label(folder), verdict, Text(printable(os.path.relpath(folder))))
        console().print(rows)
    raise typer.Exit(SOME_FAILED if any(found.values()) else OK)


def _asked(address: str, question: Callable[[ModelServiceAsyncStub, Metadata], Awaitable[_T]]) -> _T:
    """Returns what the `ModelService` at the address answers.

    Raises:
        SensoriumError: why it does not.
    """
    credentials, metadata = authorized(address)

    async def ask() -> _T:
        async with open_channel(address, credentials=credentials) as channel:
            return await question(model_pb2_grpc.ModelServiceStub(channel), metadata)

    with reaching(address):
        return asyncio.run(ask())


def _problem(folder: Path) -> str:
    """Returns what is wrong with a package; empty for a good one."""
    from shared.inference.package import open_package

    try:
        from services.trial import probe
    except ModuleNotFoundError as missing:
        raise MeshError(f"{missing.name} is missing; install it with: pip install -e '.[all]'") from None
    try:
        probe(open_package(folder))
    except ModuleNotFoundError as missing:
        raise MeshError(f"{missing.name} is missing; install it with: pip install -e '.[all]'") from None
    except (SensoriumError, OSError, ValueError) as fault:
        return str(fault)
    return ""


def _label(folder: Path) -> str:
    from shared.inference.manifest import printable  # a folder may have any bytes as its name

    return printable(f"{folder.parent.name}@{folder.name}")


def _takes(model: Model) -> str:
    if model.modality == MODALITY_UNSPECIFIED:
        return f"vectors of {model.source_space or model.space}"
    return enum_name(Modality.DESCRIPTOR, model.modality)


def _runs(model: Model) -> str:
    return f"{model.precision} on {model.provider}" if model.precision else ""


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items() if each != 0)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(f"“{each}”" for each in value)
    return str(value)
