"""The arithmetic of the soak, and a soak that is much too short to tell anything but errors."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from tests.faults.soak import slope


def test_the_slope_and_its_error() -> None:
    times_s = np.arange(0, 600, 1.0)
    noise = np.random.default_rng(0).normal(0, 2, times_s.size)
    found = slope(list(times_s), list(100 + 36 * times_s / 3600 + noise))
    assert found.mb_per_h == pytest.approx(36, abs=3 * found.error_mb_per_h)
    assert found.error_mb_per_h == pytest.approx(2 / np.sqrt(((times_s - times_s.mean()) ** 2).sum()) * 3600, rel=0.1)


def test_a_short_soak_has_no_error() -> None:
    """Refusals are none where other work takes the cores: a capacity is measured, and then there is less."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.soak", "--seconds", "4"],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    failures = re.search("answered, failures: (.*);", done.stdout)
    assert failures is not None, done.stdout + done.stderr
    assert set(re.findall(r"[A-Z_]{4,}", failures[1])) <= {"RESOURCE_EXHAUSTED"}
