"""`sensorium models add`: makes packages of a model that was exported to ONNX."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from sensorium.cli import options
from sensorium.cli.failures import UsageFault
from sensorium.cli.output import console, print_json, table
from sensorium.cli.processes import MeshError, code_root

if TYPE_CHECKING:
    from shared.importing.plan import EncoderPlan, ExportPlan
    from shared.inference.package import Package

_HUB = "hf://"

EPILOG = options.examples(
    "sensorium models add ./clip-vit-base-patch32 --name clip",
    "sensorium models add hf://sentence-transformers/all-MiniLM-L6-v2 --name minilm",
    "sensorium models add ./siglip --name siglip --logit-scale 117.33 --logit-bias -12.93",
    "sensorium models add ./all-MiniLM-L6-v2 --name minilm --variant int8 --version 2",
)


def add(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A folder in the layout of the Hugging Face Hub, or hf://owner/name[@rev]."
        ),
    ],
    name: Annotated[str, typer.Option(help="What to call it; several encoders get -text, -vision, -audio after it.")],
    version: Annotated[str, typer.Option(help="The version of the packages, and of their space.")] = "1",
    variant: Annotated[str, typer.Option(help="Which graph: fp32, fp16, int8, uint8, q4, q4f16 or bnb4.")] = "fp32",
    logit_scale: Annotated[float | None, typer.Option(help="The trained scale, not its logarithm.")] = None,
    logit_bias: Annotated[float | None, typer.Option(help="The trained bias, of SigLIP.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace packages of this name and version.")] = False,
    models: Annotated[
        Path | None, typer.Option(envvar="SENSORIUM_MODELS", help="The folder of packages; else that of the checkout.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make packages of an exported model: recognise it, copy it, run it once, and say what was understood."""
    root = models or code_root() / "models"
    try:
        from services.trial import probe
        from shared.importing.families import plan_of
        from shared.importing.hub_folder import VARIANTS, fetch_hub_folder, open_hub_folder
        from shared.importing.packages import write_packages
    except ModuleNotFoundError as missing:
        raise MeshError(f"{missing.name} is missing; install it with: pip install -e '.[models]'") from None
    if variant not in VARIANTS:
        raise UsageFault(f"--variant: {variant!r} is none of {', '.join(VARIANTS)}")
    if not name or not all(each.isalnum() or each in "-_." for each in name) or name.startswith("."):
        raise UsageFault(f"--name: {name!r} must be of letters, digits, '-', '_' and '.'")
    is_remote = source.startswith(_HUB)
    root_of = fetch_hub_folder(source.removeprefix(_HUB), variant) if is_remote else Path(source)
    folder = open_hub_folder(root_of)
    plan = plan_of(folder, variant, logit_scale, logit_bias)
    if is_remote and not plan.source:
        plan = dataclasses.replace(plan, source=source)
    packages = write_packages(folder, plan, root, name, version, replaces=replace, probe=probe)
    if as_json:
        print_json([_facts(plan, encoder, package) for encoder, package in zip(plan.encoders, packages, strict=True)])
    else:
        _show(plan, packages)


def _show(plan: ExportPlan, packages: Sequence[Package]) -> None:
    for encoder, package in zip(plan.encoders, packages, strict=True):
        rows = table("", "", title=package.manifest.id)
        for what, value in _facts(plan, encoder, package).items():
            if value not in ("", [], {}, None) and what != "package":
                rows.add_row(what, Text(_said(value)))
        console().print(rows)


def _facts(plan: ExportPlan, encoder: EncoderPlan, package: Package) -> dict[str, Any]:
    """Returns what was understood of one encoder. Any: JSON."""
    manifest = package.manifest
    known = manifest.calibration
    return {
        "package": manifest.id,
        "family": plan.family,
        "takes": manifest.modality,
        "space": manifest.space,
        "dim": manifest.dim,
        "graph": f"{manifest.graph} → {manifest.output}",
        "pooling": manifest.pooling,
        "preprocessing": dict(manifest.preprocess),
        "prompts": dict(manifest.prompts),
        "calibration": f"{known.activation}({known.logit_scale:g} cos + {known.logit_bias or 0:g})"
        if known
        else "none",
        "licence": manifest.licence or "not stated",
        "source": manifest.source,
        "fingerprint": package.fingerprint,
        "folder": os.path.relpath(package.folder),
        "remarks": list(encoder.remarks),
    }


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
