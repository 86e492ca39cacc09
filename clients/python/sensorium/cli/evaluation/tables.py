"""Shows the numbers of an evaluation to people."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sensorium.cli.evaluation.metrics import class_scores
from sensorium.cli.evaluation.results import Result
from sensorium.cli.output import table

_MOST_COLUMNS = 12  # of a matrix beside its labels
_MOST_ROWS = 30  # labels; of more, the worst are shown


def show(console: Console, results: Sequence[Result], labels: Sequence[str]) -> None:
    """Prints an overview, and for each result its labels and, if it fits, its confusion matrix."""
    console.print(_overview(results))
    for result in results:
        console.print()
        console.print(_classes(result, labels))
        if len(labels) <= _MOST_COLUMNS:
            console.print()
            console.print(_matrix(result, labels))
        for line in _remarks(result):
            console.print(line)


def share(value: float) -> str:
    """Returns a share of 1 in per cent; a dash for NaN."""
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _overview(results: Sequence[Result]) -> Table:
    titles = ("items#", "accuracy#", "precision#", "recall#", "F1#", "R@1#", "R@5#", "R@10#", "P@5#", "ECE#")
    rows = table("in %", *titles)
    for each in results:
        calibration = math.nan if each.calibration is None else each.calibration.error
        numbers = (each.accuracy, *class_scores(each.counts).macro(), *each.recall_at.values())
        cells = map(share, (*numbers, each.precision_at_5, calibration))
        rows.add_row(Text(each.title, style="bold"), f"{each.item_count:,}", *cells)
    return rows


def _classes(result: Result, labels: Sequence[str]) -> Table:
    scores = class_scores(result.counts)
    title = result.title if len(labels) <= _MOST_ROWS else f"{result.title}, the worst"
    rows = table(title, "items#", "precision#", "recall#", "F1#", "most often mistaken for")
    for at in range(len(labels)) if len(labels) <= _MOST_ROWS else np.argsort(scores.f1, kind="stable")[:_MOST_ROWS]:
        cells = (share(float(column[at])) for column in (scores.precision, scores.recall, scores.f1))
        rows.add_row(Text(labels[at]), f"{scores.items[at]:,}", *cells, Text(_mistaken(result, at, labels)))
    return rows


def _mistaken(result: Result, at: int, labels: Sequence[str]) -> str:
    counts = result.counts[at].copy()
    counts[at] = 0
    worst = int(counts.argmax())
    return f"{labels[worst]} ({counts[worst]:,})" if counts[worst] else ""


def _matrix(result: Result, labels: Sequence[str]) -> Table:
    """Returns the confusion matrix; its columns are numbered, as names would not fit."""
    rows = table("true \\ predicted", *(f"{at + 1}#" for at in range(len(labels))))
    for row, label in enumerate(labels):
        cells = [
            Text(f"{count:,}" if count else "·", style="bold green" if row == column else "red" if count else "dim")
            for column, count in enumerate(result.counts[row].tolist())
        ]
        rows.add_row(Text(f"{row + 1} {label}"), *cells)
    return rows


def _remarks(result: Result) -> list[str]:
    remarks = []
    if result.failed_count:
        remarks.append(f"failed, and in no number: {result.failed_count:,}")
    if result.left_out_count:
        other = "no other" if result.against == result.query else "no"
        remarks.append(f"left out, as {other} {result.against} has their label: {result.left_out_count:,}")
    if result.off_topic is not None:
        found = result.off_topic
        remarks.append(
            f"AUROC against what is off topic ({found.item_count:,}), in %: "
            f"{share(found.auroc_probability)} by probability, {share(found.auroc_score)} by score"
        )
    return remarks
