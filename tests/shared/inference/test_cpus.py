"""The CPUs that may really be used."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.inference.cpus import available_cpus, yield_to_the_event_loop


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ranks threads")
def test_a_thread_that_yields_is_nicer_than_the_others() -> None:
    def rank() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    with ThreadPoolExecutor(1, initializer=yield_to_the_event_loop) as pool:
        assert pool.submit(rank).result() == min(19, rank() + 3)
