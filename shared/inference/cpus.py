"""How many CPUs this process may really use: the least of affinity and the cgroup's quota."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_cpus(root: Path = _CGROUP) -> int:
    """Returns the number of CPUs to plan for, at least 1: the affinity mask, cut down to the CPU quota rounded up.

    root: where the cgroup file systems are mounted; containers see their own limits there, in version 1 and 2.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return max(1, affinity if quota is None else min(affinity, math.ceil(quota)))


def _quota(root: Path) -> float | None:
    """Returns the quota in CPUs, or None where there is none."""
    return _quota_v2(root) or _quota_v1(root)


def _quota_v2(root: Path) -> float | None:
    text = _read(root / "cpu.max")  # "max 100000" or "50000 100000"
    if text is None:
        return None
    quota, _, period = text.partition(" ")
    return None if quota == "max" else int(quota) / int(period or 100_000)


def _quota_v1(root: Path) -> float | None:
    for folder in (root / "cpu", root / "cpu,cpuacct"):
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota is not None and period is not None and int(quota) > 0:
            return int(quota) / int(period)
    return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None
