"""Shows answers: tables for people; JSON, lines of JSON and .npy for programs."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from google.rpc import code_pb2
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from sensorium.cli.failures import UsageFault, say
from sensorium.cli.fitting import FittingTable
from sensorium.cli.inputs import Input
from sensorium.errors import SensoriumError
from sensorium.v1.embedding_pb2 import Receipt

_T = TypeVar("_T")
_BAR_AFTER_S = 1.0
_WIDTH_OF_A_FILE = 100_000  # columns in a file or pipe: a row of a table is one line there, however long


@dataclass(frozen=True)
class Format:
    """How the answer is wanted; a table unless one of these is asked for. Any: whatever JSON can say.

    npy: the file for the numbers; it may come besides JSON.
    """

    as_json: bool
    as_lines: bool
    npy: Path | None = None

    def __post_init__(self) -> None:
        """Refuses two formats on one stdout, and a folder that is not there, before any work is done."""
        if self.as_json and self.as_lines:
            raise UsageFault("--json and --jsonl exclude each other")
        if self.npy is not None and not self.npy.parent.is_dir():
            raise UsageFault(f"--npy: there is no folder {self.npy.parent}")

    @property
    def wants_table(self) -> bool:
        """Whether the answer goes to a person."""
        return not (self.as_json or self.as_lines or self.npy)

    def emit(self, whole: Any, lines: Iterable[Any]) -> None:
        """Prints the answer as one JSON value, or line by line, if so asked."""
        if self.as_json:
            print_json(whole)
        for line in lines if self.as_lines else ():
            print_json(line)

    def save(self, numbers: NDArray[np.float32]) -> None:
        """Writes the numbers to the .npy file, if there is one."""
        if self.npy is None:
            return
        try:
            with self.npy.open("wb") as file:  # a file, not a name: numpy would put .npy behind any other ending
                np.save(file, numbers)
        except OSError as fault:
            raise UsageFault(f"--npy: {self.npy} cannot be written: {fault.strerror}") from None
        say(f"wrote {numbers.shape} float32 to {self.npy}")


def print_json(value: Any) -> None:
    """Prints one line of JSON. Any: whatever JSON can say."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def console() -> Console:
    """Returns the console of stdout; without colour, and of a fixed width, where that is no terminal."""
    is_terminal = sys.stdout.isatty()
    return Console(highlight=False, width=None if is_terminal else _WIDTH_OF_A_FILE, soft_wrap=False)


def table(*titles: str, title: str | None = None) -> Table:
    """Returns an empty table with these columns; those that end with `#` hold numbers."""
    made = FittingTable(title=title, title_justify="left", header_style="bold", box=None, padding=(0, 2, 0, 0))
    for each in titles:
        made.add_column(each.removesuffix("#"), justify="right" if each.endswith("#") else "left", overflow="fold")
    return made


def named(each: Input, most: int = 48) -> Text:
    """Returns what a table calls an input: a text in quotes, cut if long; a path by its end."""
    name = each.name.replace("\n", " ")
    if each.kind == "text":
        return Text(f"“{name if len(name) <= most else name[: most - 1] + '…'}”")
    return Text(name if len(name) <= most else "…" + name[1 - most :])


def shortened(vector: NDArray[np.float32]) -> str:
    """Returns the first components of a (dim,) vector, and how long it is."""
    shown = " ".join(f"{value:+.3f}" for value in vector[:4])
    return f"{shown} … {vector[-1]:+.3f}" if vector.size > 5 else shown


def number(value: float) -> float | None:
    """Returns a number that JSON can say; None for NaN."""
    return None if math.isnan(value) else float(value)


def numbers(values: NDArray[np.float32]) -> list[Any]:
    """Returns an array as nested lists, with None for NaN. Any: numbers, or lists of such lists."""
    return [number(float(each)) if np.ndim(each) == 0 else numbers(each) for each in values]


def input_facts(index: int, each: Input) -> dict[str, Any]:
    """Returns an input as JSON says it. Any: numbers and strings."""
    return {"index": index, "name": each.name, "kind": each.kind}


def error_facts(error: SensoriumError) -> dict[str, Any]:
    """Returns an error as JSON says it. Any: strings, numbers and a dictionary of strings."""
    facts: dict[str, Any] = {
        "code": code_pb2.Code.Name(error.code),
        "reason": error.reason.value.removeprefix("ERROR_REASON_"),
        "field": error.field,
        "message": error.problem,
        "metadata": error.metadata,
    }
    if error.retry_after_s is not None:
        facts["retry_after_s"] = error.retry_after_s
    return facts


def receipt_facts(receipt: Receipt) -> dict[str, Any]:
    """Returns a receipt as JSON says it: only what it has. Any: strings, numbers and receipts."""
    return {
        field.name: [receipt_facts(part) for part in value] if field.name == "parts" else value
        for field, value in receipt.ListFields()
    }


def say_failures(inputs: Sequence[Input], errors: Mapping[int, SensoriumError], side: str = "") -> None:
    """Prints one line on stderr for each input that failed."""
    for at in sorted(errors):
        say(f"{side}{named(inputs[at])}: {errors[at].problem}")


def shown_as_it_goes(parts: Iterable[_T], total: int, size_of: Callable[[_T], int], what: str) -> Iterator[_T]:
    """Yields the parts; a bar on stderr shows the progress once a second has gone, if that is a terminal.

    size_of: how many of the `total` a part holds.
    """
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    task = bar.add_task(what, total=total)
    started, is_shown = time.monotonic(), False
    try:
        for part in parts:
            yield part
            bar.advance(task, size_of(part))
            if not is_shown and time.monotonic() - started > _BAR_AFTER_S:
                bar.start()
                is_shown = True
    finally:
        bar.stop()
