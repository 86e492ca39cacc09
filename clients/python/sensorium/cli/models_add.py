"""`sensorium models add`: makes packages of a model that was exported to ONNX."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from sensorium.cli import options
from sensorium.cli.failures import UsageFault
from sensorium.cli.output import console, print_json, table
from sensorium.cli.processes import MeshError, code_root

if TYPE_CHECKING:
    from shared.importing.plan import ExportPlan, PackagePlan
    from shared.inference.manifest import Manifest
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
    name: Annotated[
        str, typer.Option(help="What to call it; several packages get -text, -vision, -audio, -classes after it.")
    ],
    version: Annotated[str, typer.Option(help="The version of the packages, and of their space.")] = "1",
    variant: Annotated[str, typer.Option(help="Which graph: fp32, fp16, int8, uint8, q4, q4f16 or bnb4.")] = "fp32",
    logit_scale: Annotated[
        float | None, typer.Option(help="The trained scale, not its logarithm.", min=1e-9, show_default=False)
    ] = None,
    text_logit_scale: Annotated[
        float | None,
        typer.Option(help="That of texts, where it is another (CLAP's logit_scale_t).", min=1e-9, show_default=False),
    ] = None,
    logit_bias: Annotated[float | None, typer.Option(help="The trained bias, of SigLIP.", show_default=False)] = None,
    pooling: Annotated[
        str,
        typer.Option(
            help="How hidden states become one vector, where no file says: mean, cls, lasttoken, max; "
            "none takes the graph's own embedding."
        ),
    ] = "",
    family: Annotated[
        str,
        typer.Option(
            metavar="TYPE", help="A known `model_type` that the model is built as, where its config.json names another."
        ),
    ] = "",
    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TEXT", help="A prompt by name; `=TEXT` is the default. Repeatable."),
    ] = None,
    resize: Annotated[str, typer.Option(help="Whose pixels pictures get: torchvision or pil.")] = "torchvision",
    long_clip: Annotated[
        str, typer.Option(help="Of clips over the model's window: start, centre or windows; else the reference's way.")
    ] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace packages of this name and version.")] = False,
    models: Annotated[
        Path | None, typer.Option(envvar="SENSORIUM_MODELS", help="The folder of packages; else that of the checkout.")
    ] = None,
    space: Annotated[
        str,
        typer.Option(
            metavar="SPACE",
            help="The embedding space; else that of an earlier version with the same vectors, or NAME@VERSION.",
        ),
    ] = "",
    as_json: options.AsJson = False,
) -> None:
    """Make packages of an exported model: recognise it, copy it, run it once, and say what was understood."""
    root = models or code_root() / "models"
    try:
        from services.trial import probe
        from shared.importing.families import FAMILIES, plan_of
        from shared.importing.hub_folder import VARIANTS, fetch_hub_folder
        from shared.importing.layouts import open_hub_folder
        from shared.importing.packages import write_packages
        from shared.importing.plan import LONG_CLIPS, RESIZES, Wishes
    except ModuleNotFoundError as missing:
        raise MeshError(f"{missing.name} is missing; install it with: pip install -e '.[models]'") from None
    _check("--variant", variant, VARIANTS)
    _check("--resize", resize, RESIZES)
    _check("--long-clip", long_clip, ("", *LONG_CLIPS))
    _check("--family", family, ("", *FAMILIES))
    check_name("--name", name)
    check_name("--version", version)
    is_remote = source.startswith(_HUB)
    if not is_remote and not Path(source).is_dir():
        raise UsageFault(f"there is no folder {source}; give one that exists, or {_HUB}owner/name")
    wishes = Wishes(
        variant,
        source if is_remote else "",
        logit_scale,
        text_logit_scale,
        logit_bias,
        pooling,
        _prompts(prompt or ()),
        resize,
        long_clip,
        family,
    )
    folder = open_hub_folder(fetch_hub_folder(source.removeprefix(_HUB), variant) if is_remote else Path(source))
    plan = plan_of(folder, wishes)
    with console().status(f"Writing and trying {len(plan.packages)} package(s) of {source} …"):
        packages = write_packages(folder, plan, root, name, version, replaces=replace, probe=probe, space=space)
    if as_json:
        print_json([_facts(plan, each, package) for each, package in zip(plan.packages, packages, strict=True)])
    else:
        _show(plan, packages)


def check_name(option: str, value: str) -> None:
    """Refuses what cannot be the name or the version of a package."""
    if not value or not all(each.isalnum() or each in "-_." for each in value) or value.startswith("."):
        raise UsageFault(f"{option}: {value!r} must be of letters, digits, '-', '_' and '.'")


def _check(option: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise UsageFault(f"{option}: {value!r} is none of {', '.join(filter(None, choices))}")


def _prompts(given: Sequence[str]) -> dict[str, str]:
    """Returns prompts by name, of NAME=TEXT each."""
    pairs = [each.partition("=") for each in given]
    for whole, (_, equals, _) in zip(given, pairs, strict=True):
        if not equals:
            raise UsageFault(f"--prompt: {whole!r} must be NAME=TEXT")
    return {name: text for name, _, text in pairs}


def _show(plan: ExportPlan, packages: Sequence[Package]) -> None:
    for each, package in zip(plan.packages, packages, strict=True):
        rows = table("", "", title=package.manifest.id)
        for what, value in _facts(plan, each, package).items():
            if value not in ("", [], {}, None) and what != "package":
                rows.add_row(what, Text(_said(value)))
        console().print(rows)


def _facts(plan: ExportPlan, package_plan: PackagePlan, package: Package) -> dict[str, Any]:
    """Returns what was understood of one package. Any: JSON."""
    manifest = package.manifest
    limits = manifest.limits
    return {
        "package": manifest.id,
        "family": plan.family,
        "task": manifest.task,
        "takes": manifest.modality or f"vectors of {manifest.space}",
        "space": manifest.space,
        "dim": manifest.dim,
        "graph": manifest.graph,
        "inputs": {name: list(shape) for name, shape in package_plan.graph.inputs.items()},
        "output": manifest.output,
        "pooling": manifest.pooling,
        "after pooling": manifest.head,
        "preprocessing": dict(manifest.preprocess),
        "prompts": dict(manifest.prompts),
        "labels": list(manifest.labels),
        "calibration": _calibration(manifest),
        "limits": {"max_batch_items": limits.max_batch_items, "max_batch_cost": limits.max_batch_cost},
        "licence": manifest.licence or "not stated",
        "source": manifest.source,
        "fingerprint": package.fingerprint,
        "folder": os.path.relpath(package.folder),
        "remarks": list(package_plan.remarks),
    }


def _calibration(manifest: Manifest) -> str:
    known = manifest.calibration
    if known is None:
        return "none"
    if manifest.task == "predict":
        return f"{known.activation} of the logits"
    return f"{known.activation}({known.logit_scale:g} cos + {known.logit_bias or 0:g})"


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
