"""`python -m tests.fuzz --count 100000`: mutated inputs through the decoders and the services of a mesh of its own.

Prints how many inputs of which kind ended how; ends with 1, and with the inputs in a folder, where a service crashed,
hung, said that a bug is ours, or changed its mind about a vector.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sensorium.cli.mesh import running_mesh
from tests.fuzz.corpus import read
from tests.fuzz.findings import Tally
from tests.fuzz.run import run_decoders, run_services

_ROUND = 1_000  # inputs between two looks at the clock


def main() -> int:
    """Returns 0 where no promise was broken, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000, help="inputs in all, half of them requests")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same inputs")
    parser.add_argument("--start", type=int, default=0, help="number of the first input of each kind")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder for inputs that broke it")
    options = parser.parse_args()
    console, tally, ends = Console(), Tally(), time.monotonic() + 60 * options.minutes
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("inputs", total=options.count)
        half = options.count // 2

        def rounds(run: Callable[[range], None], count: int) -> None:
            for start in range(options.start, options.start + count, _ROUND):
                if time.monotonic() > ends:
                    return
                run(range(start, min(start + _ROUND, options.start + count)))
                progress.update(bar, completed=tally.count)

        corpus = read()
        rounds(lambda numbers: run_decoders(corpus, options.seed, numbers, tally), options.count - half)
        with running_mesh() as mesh:
            rounds(lambda numbers: asyncio.run(run_services(mesh, corpus, options.seed, numbers, tally)), half)
    _print(tally, console)
    if tally.findings:
        tally.keep(options.findings)
        console.print(f"{len(tally.findings)} inputs broke a promise; they are in {options.findings}")
    return int(bool(tally.findings))


def _print(tally: Tally, console: Console) -> None:
    table = Table("target", "ended", "inputs", title=f"{tally.count} inputs")
    for (target, outcome), count in sorted(tally.outcomes.items()):
        table.add_row(target, outcome, f"{count}")
    console.print(table)
    for said, count in tally.kinds():
        console.print(f"{count} x {said}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
