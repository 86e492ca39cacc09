"""`python -m bench`: our services and other servers against onnxruntime alone; see docs/benchmarks.md."""

from __future__ import annotations

import datetime as dt
import sys
import time

from rich.console import Console
from rich.table import Table

from bench.campaign import run
from bench.estimate import estimate_s
from bench.goals import goals
from bench.load.calibrate import ceilings
from bench.models.folder import models
from bench.plan import read_plan
from bench.plots import draw, draw_scaling
from bench.report import Cells, document, goal_cells, open_cells, other_cells, row_cells, write

# What the wide table leaves to the files.
_WIDE = {"setting", "(low–high)", "generator CPU"}
_TEXTUAL = {"", "input", "system", "service", "what", "verdict", "note", "why", "wire"}


def main() -> None:
    """Reads the command line, measures, prints and writes."""
    plan = read_plan()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    started = time.monotonic()

    def told(step: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.0f} s[/]  {step}", markup=True)

    told(f"this takes about {estimate_s(plan) / 60:.0f} minutes, and longer where peers have to be installed")
    told("making the models")
    made = models()
    tops = ceilings(0.5 if plan.is_quick else 3.0)
    findings = run(plan, made, told)
    tables = {
        "Closed loop": row_cells(findings.rows),
        "Open loop": open_cells(findings.open_rows),
        "What is to be reached": goal_cells(goals(findings)),
        **other_cells(findings, tops),
    }
    name = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d-%H%M")
    path = write(plan.out, name, document(plan, findings, tops, time.monotonic() - started), tables)
    for title, cells in tables.items():
        if len(cells) > 1 and title != "The sweep":
            console.print(_table(title, cells))
    drawn = [*draw(plan.out, name, findings.rows), *draw_scaling(plan.out, name, findings.scaling)]
    console.print(f"{path}, {path.with_suffix('.md').name}" + "".join(f", {each.name}" for each in drawn))
    if not drawn:
        console.print("no plots: matplotlib is missing (pip install -e '.[bench]')")


def _table(title: str, cells: Cells) -> Table:
    kept = [place for place, name in enumerate(cells[0]) if name not in _WIDE]
    table = Table(title=title, title_justify="left")
    for place in kept:
        table.add_column(cells[0][place], justify="left" if cells[0][place] in _TEXTUAL else "right")
    for line in cells[1:]:
        table.add_row(*(line[place] for place in kept))
    return table


if __name__ == "__main__":
    main()
