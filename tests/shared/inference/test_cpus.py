"""The CPUs that may really be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.inference.cpus import available_cpus


def allowed() -> int:
    return len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("text", "cpus"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None)])
def test_version_2_quota(tmp_path: Path, text: str, cpus: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert available_cpus(tmp_path) == (cpus or allowed())


@pytest.mark.parametrize(("quota", "cpus"), [(50_000, 1), (-1, None), (10_000_000, None)])
def test_version_1_quota(tmp_path: Path, quota: int, cpus: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(str(quota))
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert available_cpus(tmp_path) == (cpus or allowed())


def test_no_cgroup_at_all(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == allowed()
