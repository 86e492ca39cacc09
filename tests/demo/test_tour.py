"""The tour, where the mesh does not answer: it says which step failed and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensorium import Client
from sensorium.cli.demo.results import Step
from sensorium.cli.demo.samples import load_samples
from sensorium.cli.demo.tour import StepFailed, take_tour

_SHIPPED = Path(__file__).parents[2] / "demo" / "inputs"


def test_a_step_without_an_answer_is_named() -> None:
    seen: list[Step] = []

    with Client("localhost:1", timeout_s=5) as client, pytest.raises(StepFailed, match="step 1 \\(find\\) failed: "):
        take_tour(client, load_samples(_SHIPPED), lambda _, step: seen.append(step))

    assert seen == []
