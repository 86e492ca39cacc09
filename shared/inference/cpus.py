"""The CPUs of this process: how many it may really use, and which of its threads go first."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")

# How much nicer the threads of models are than the event loop. Where there are as many of them as CPUs, a loop of equal
# rank gets half a CPU, and under overload refusals wait for seconds. Measured at four times the capacity of short
# texts: 2 to 4 answer the most in time; from 10 on, refusing takes everything.
_NICER = 3


def available_cpus(root: Path = _CGROUP) -> int:
    """Returns the number of CPUs to plan for, at least 1: the affinity mask, cut down to the CPU quota rounded up.

    root: where the cgroup file systems are mounted; containers see their own limits there, in version 1 and 2.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return max(1, affinity if quota is None else min(affinity, math.ceil(quota)))


def yield_to_the_event_loop() -> None:
    """Lets the other threads of this process go before the calling one, where the system ranks threads."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.nice(0) + _NICER)


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
