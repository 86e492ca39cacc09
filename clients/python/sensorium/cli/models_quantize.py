"""`sensorium models quantize`: makes an int8 package of one in fp32, and says what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from sensorium.cli import models_golden, options
from sensorium.cli.failures import OK, SOME_FAILED, UsageFault, say
from sensorium.cli.inputs import files_of
from sensorium.cli.models_add import check_name
from sensorium.cli.output import console, print_json, shown_as_it_goes, table
from sensorium.cli.processes import MeshError, code_root

if TYPE_CHECKING:
    from shared.importing.quantizing import Fidelity
    from shared.inference.package import Package

EPILOG = options.examples(
    "sensorium models quantize minilm --inputs sentences.txt   (one text a line)",
    "sensorium models quantize vit --inputs 'photos/*.jpg' --inputs more.png --name vit-small",
    "sensorium models quantize minilm --inputs sentences.txt --minimum-cosine 0.98 --version 2",
    "sensorium models quantize clip-vision --inputs 'photos/*' --same-space   (stays comparable with clip-text)",
)


def quantize(
    model: Annotated[
        str, typer.Argument(metavar="NAME|PATH", help="The package: name, name@version or folder.", show_default=False)
    ],
    inputs: Annotated[
        list[str],
        typer.Option(
            metavar="FILE|GLOB",
            help="What to calibrate with and to measure on: for texts, files with one a line; else pictures or sounds. "
            "A quoted glob takes many. Repeatable. Take what the model will see; a hundred are good.",
        ),
    ],
    name: Annotated[str, typer.Option(help="What to call it; empty: NAME-int8.")] = "",
    version: Annotated[str, typer.Option(help="Its version; empty: that of NAME.")] = "",
    minimum_cosine: Annotated[
        float, typer.Option(help="The least cosine to fp32 that an input may have.", min=-1.0, max=1.0)
    ] = 0.99,
    force: Annotated[bool, typer.Option("--force", help="Keep it even below that.")] = False,
    per_channel: Annotated[bool, typer.Option(help="A scale for each channel of a weight: closer to fp32.")] = True,
    same_space: Annotated[
        bool, typer.Option("--same-space", help="Keep the embedding space; else it is one of its own, NAME@VERSION.")
    ] = False,
    models: Annotated[
        Path | None, typer.Option(envvar="SENSORIUM_MODELS", help="The folder of packages; else that of the checkout.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a package in int8, calibrated on your inputs, and measure it on those that calibration did not see.

    Static quantization (QDQ): the ranges are fixed, so that a vector depends on its own input alone. Exits with 1, and
    keeps nothing, where a cosine to fp32 is under the minimum.
    """
    root = models or code_root() / "models"
    try:
        from shared.importing.packages import fresh_folder, put_in_place
        from shared.importing.quantizing import check_quantizable
        from shared.inference.package import open_package
    except ModuleNotFoundError as missing:
        raise MeshError(f"{missing.name} is missing; install it with: pip install -e '.[models]'") from None
    package = open_package(models_golden.package_folder(root, model))
    check_quantizable(package)
    name, version = name or f"{package.manifest.name}-int8", version or package.manifest.version
    check_name("--name", name)
    check_name("--version", version)
    if (root / name / version).exists():
        raise UsageFault(f"{root / name / version} is there already; give another --name or --version")
    given = _read(inputs, package.manifest.modality)
    with fresh_folder(root, ".quantizing-") as fresh:
        target = fresh / name / version
        fidelity = _made(package, target, given, per_channel=per_channel, same_space=same_space)
        is_kept = force or fidelity.minimum_cosine >= minimum_cosine
        if is_kept:
            put_in_place(fresh, root, name, version)
    facts = {"package": f"{name}@{version}", "of": package.manifest.id, **asdict(fidelity), "is_kept": is_kept}
    _show(facts, as_json=as_json)
    if not is_kept:
        say(f"{name}@{version} is not kept: its least cosine to fp32 is {fidelity.minimum_cosine}, under "
            f"{minimum_cosine}; give more inputs, a lower --minimum-cosine, or --force")  # fmt: skip
    raise typer.Exit(OK if is_kept else SOME_FAILED)


def _read(given: Sequence[str], modality: str) -> Sequence[str | Path]:
    """Returns the texts in the lines of the files that are named, or the files."""
    paths = [path for each in given for path in files_of(each)]
    if modality != "text":
        return paths
    try:
        lines = [line.strip() for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageFault(f"--inputs: the files must be texts in UTF-8, one a line: {fault}") from None
    return [line for line in lines if line]


def _made(
    package: Package, target: Path, given: Sequence[str | Path], *, per_channel: bool, same_space: bool
) -> Fidelity:
    """Writes the package, and returns how it compares."""
    from services.trial import encode, feeds
    from shared.importing.quantizing import compare, note, ratios, split, write_quantized
    from shared.inference.package import open_package

    seen, held_out = split(given)
    batches = [batch for each in shown_as_it_goes(feeds(package, seen), len(seen), _one, "preparing") for batch in each]
    calibration: Iterator[Mapping[str, Any]] = shown_as_it_goes(batches, len(batches), _one, "calibrating")
    write_quantized(package, target, calibration, per_channel=per_channel, same_space=same_space)
    quantized = open_package(target)
    with console().status("Measuring …"):
        rows = [encode(each, [*seen, *held_out]) for each in (package, quantized)]
        fidelity = compare(rows[0], rows[1], len(seen), ratios(package, quantized, batches))
    note(target, fidelity, per_channel=per_channel)
    return fidelity


def _one(_: object) -> int:
    return 1


def _show(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints the report. Any: JSON."""
    if as_json:
        print_json(facts)
        return
    rows = table("", "", title=f"{facts['package']}, int8 of {facts['of']}")
    for what, value in facts.items():
        if what not in ("package", "of"):
            rows.add_row(what.replace("_", " "), Text(str(value)))
    console().print(rows)
