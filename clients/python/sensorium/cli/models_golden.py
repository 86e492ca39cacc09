"""`sensorium models verify --golden`: holds a package to the vectors of a reference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from sensorium.cli.failures import OK, SOME_FAILED, UsageFault
from sensorium.cli.output import console, print_json, table
from sensorium.cli.processes import MeshError, code_root

_MOST_SHOWN = 20


def verify(file: Path, packages: Sequence[str], models: Path | None, *, as_json: bool) -> NoReturn:
    """Encodes the inputs of a golden file with one package, prints how far the vectors are off, and exits.

    Raises:
        UsageFault: not exactly one package is named, or it takes another modality.
        SensoriumError: the package or the golden file is wrong.
    """
    root = models or code_root() / "models"
    if not file.is_file():
        raise UsageFault(f"--golden: there is no file {file}")
    if len(packages) != 1:
        raise UsageFault("--golden: name the one package to hold to it")
    try:
        from services.trial import encode
        from shared.importing.golden import compare, read_golden
        from shared.inference.package import open_package
    except ModuleNotFoundError as missing:
        raise MeshError(f"{missing.name} is missing; install it with: pip install -e '.[models]'") from None
    package, golden = open_package(package_folder(root, packages[0])), read_golden(file)
    if package.manifest.modality != golden.modality:
        raise UsageFault(f"--golden: {file} has items of {golden.modality}; {package.manifest.id} takes "
                         f"{package.manifest.modality or 'vectors'}")  # fmt: skip
    verdict = compare(golden, encode(package, golden.inputs, golden.prompt_name))
    worst = sorted(range(len(golden.inputs)), key=lambda at: -float(verdict.differences[at]))
    facts = {
        "package": package.manifest.id,
        "fingerprint": package.fingerprint,
        "golden": str(file),
        "items": len(golden.inputs),
        "tolerance": golden.tolerance,
        "largest_difference": float(verdict.differences.max()),
        "largest_cosine_distance": float(verdict.distances.max()),
        "is_good": verdict.is_good,
    }
    if as_json:
        print_json(facts)
    else:
        rows = table("item", "largest difference#", "1 - cosine#", title=f"{package.manifest.id} against {file}")
        for at in worst[:_MOST_SHOWN]:
            shown = str(golden.inputs[at])
            rows.add_row(shown[:60], f"{verdict.differences[at]:.2e}", f"{verdict.distances[at]:.2e}")
        console().print(rows)
        outcome = "good" if verdict.is_good else "BAD"
        console().print(f"{outcome}: {facts['largest_difference']:.2e}, at most {golden.tolerance:.0e} is allowed")
    raise typer.Exit(OK if verdict.is_good else SOME_FAILED)


def package_folder(root: Path, given: str) -> Path:
    """Returns the folder of a package that is given by its path or its name.

    Raises:
        UsageFault: it is a path, and no folder is there.
        NotFound: no package has that name.
    """
    from shared.inference.package import find_package

    path = Path(given)
    if os.sep in given and not path.is_dir():
        raise UsageFault(f"there is no folder {given}; give a package's folder, or its name")
    if (path / "manifest.json").is_file() or (os.sep in given and path.is_dir()):
        return path.resolve()
    return find_package(root, given)
