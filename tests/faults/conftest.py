"""How long faults are borne, and where it is written down what callers saw."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Seconds of load around each fault. The whole 30 s each: SENSORIUM_FAULT_S=30 (make faults).
FAULT_S = float(os.environ.get("SENSORIUM_FAULT_S") or 2.0)
_REPORT = os.environ.get("SENSORIUM_FAULT_REPORT", "")

Told = Callable[[str, str], None]


@pytest.fixture(scope="session")
def report() -> Iterator[Told]:
    """Takes what callers saw of each fault; written as a table to SENSORIUM_FAULT_REPORT, where that is set."""
    lines: list[str] = []
    yield lambda fault, seen: lines.append(f"| {fault} | {seen} |")
    if _REPORT:
        Path(_REPORT).write_text("\n".join(["| fault | what callers saw |", "|---|---|", *lines, ""]))
