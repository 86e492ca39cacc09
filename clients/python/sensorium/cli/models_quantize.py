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
from sensorium.errors import FailedPrecondition

if TYPE_CHECKING:
    from shared.importing.quantizing import Fidelity
    from shared.importing.ways import Way
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
    way: Annotated[
        str, typer.Option(help="static, weights or dynamic; auto tries all, and keeps the fastest over the minimum.")
    ] = "auto",
    per_channel: Annotated[bool, typer.Option(help="A scale for each channel of a weight: closer to fp32.")] = True,
    same_space: Annotated[
        bool, typer.Option("--same-space", help="Keep the embedding space; else it is one of its own, NAME@VERSION.")
    ] = False,
    models: Annotated[
        Path | None, typer.Option(envvar="SENSORIUM_MODELS", help="The folder of packages; else that of the checkout.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a package in int8, and measure it on those of your inputs that calibration did not see.

    static: ranges are calibrated on your inputs and fixed. weights: in blocks of 32, and each row rounded by itself.
    dynamic: ranges are those of each run, so that inputs run one by one. In each way a vector depends on its own input
    alone. Exits with 1, and keeps nothing, where the least cosine to fp32 is under the minimum.
    """
    root = models or code_root() / "models"
    try:
        from shared.importing.packages import fresh_folder, put_in_place
        from shared.importing.quantizing import best, check_quantizable
        from shared.importing.ways import WAYS
        from shared.inference.package import open_package
    except ModuleNotFoundError as missing:
        raise MeshError(f"{missing.name} is missing; install it with: pip install -e '.[models]'") from None
    if way not in ("auto", *WAYS):
        raise UsageFault(f"--way: {way!r} is none of auto, {', '.join(WAYS)}")
    package = open_package(models_golden.package_folder(root, model))
    check_quantizable(package)
    name, version = name or f"{package.manifest.name}-int8", version or package.manifest.version
    check_name("--name", name)
    check_name("--version", version)
    if (root / name / version).exists():
        raise UsageFault(f"{root / name / version} is there already; give another --name or --version")
    given = _read(inputs, package.manifest.modality)
    with fresh_folder(root, ".quantizing-") as fresh:
        ways = list(WAYS) if way == "auto" else [each for each in WAYS if each == way]
        made = _Making(package, fresh, (name, version), given, per_channel=per_channel, same_space=same_space)
        found = made.all_of(ways)
        fidelity = best(found, minimum_cosine)
        is_kept = force or fidelity.minimum_cosine >= minimum_cosine
        if is_kept:
            put_in_place(fresh / fidelity.way, root, name, version)
    facts = {"package": f"{name}@{version}", "of": package.manifest.id, **asdict(fidelity), "is_kept": is_kept}
    _show(facts, found, made.failed, as_json=as_json)
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


class _Making:
    """Makes one package in several ways, each in a folder of its own below `fresh`, and measures it.

    failed: why it could not be made, by way.
    """

    def __init__(
        self,
        package: Package,
        fresh: Path,
        named: tuple[str, str],
        given: Sequence[str | Path],
        *,
        per_channel: bool,
        same_space: bool,
    ) -> None:
        from services.trial import encode, feeds
        from shared.importing.quantizing import split

        self._package, self._fresh, self._named = package, fresh, named
        self._per_channel, self._same_space = per_channel, same_space
        seen, held_out = split(given)
        self._inputs, self._seen = [*seen, *held_out], len(seen)
        prepared = shown_as_it_goes(feeds(package, seen), len(seen), _one, "preparing")
        self._batches = [batch for each in prepared for batch in each]
        with console().status("Computing in fp32 …"):
            self._exact = encode(package, self._inputs)
        self.failed: dict[str, str] = {}

    def all_of(self, ways: Sequence[Way]) -> Sequence[Fidelity]:
        """Returns how those compare that can be made.

        Raises:
            FailedPrecondition: none can.
        """
        found = []
        for way in ways:
            try:
                found.append(self._in_one(way))
            except FailedPrecondition as fault:
                self.failed[way] = str(fault)
                if len(self.failed) == len(ways):
                    raise
        return found

    def _in_one(self, way: Way) -> Fidelity:
        from services.trial import encode, probe
        from shared.importing.quantizing import compare, costs, note, write_quantized
        from shared.inference.package import open_package

        target = self._fresh.joinpath(way, *self._named)
        batches: Iterator[Mapping[str, Any]] = iter(self._batches)
        if way == "static":
            batches = shown_as_it_goes(self._batches, len(self._batches), _one, "calibrating")
        options = {"per_channel": self._per_channel, "same_space": self._same_space}
        write_quantized(self._package, target, way, batches, **options)
        with console().status(f"Measuring {way} …"):
            probe(open_package(target))
            quantized = open_package(target)
            rows = encode(quantized, self._inputs)
            taken = costs(self._package, quantized, self._batches)
            fidelity = compare(way, self._exact, rows, self._seen, taken)
        note(target, fidelity, per_channel=self._per_channel)
        return fidelity


def _one(_: object) -> int:
    return 1


def _show(facts: Mapping[str, Any], found: Sequence[Fidelity], failed: Mapping[str, str], *, as_json: bool) -> None:
    """Prints the report. Any: JSON."""
    if as_json:
        print_json({**facts, "ways": [asdict(each) for each in found], "failed": failed})
        return
    of_ways = table(
        "way", "least cosine", "mean cosine", "size", "fp32 ms", "int8 ms", title="to fp32, on this machine"
    )
    for each in found:
        numbers = (each.minimum_cosine, each.mean_cosine, each.size_ratio, each.fp32_ms, each.int8_ms)
        of_ways.add_row(each.way, *map(str, numbers))
    console().print(of_ways)
    for way, why in failed.items():
        console().print(Text(f"{way}: {why}"))
    rows = table("", "", title=f"{facts['package']}, int8 of {facts['of']}")
    for what, value in facts.items():
        if what not in ("package", "of"):
            rows.add_row(what.replace("_", " "), Text(str(value)))
    console().print(rows)
