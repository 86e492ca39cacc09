"""Reads of Linux's /proc what processes cost, with all that they started: CPU time and memory."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """Returns a process and its descendants."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in os.listdir(_PROC):  # noqa: PTH208  # names alone, many times a second
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields:
                children[int(fields[1])].append(int(entry))
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += children[one]
    return found


def cpu_s(pid: int) -> float:
    """Returns the CPU time so far of a process and its living descendants, and of those that they waited for."""
    ticks = 0
    for each in tree(pid):
        fields = _stat(each)
        ticks += sum(int(value) for value in fields[11:15])  # utime, stime, and those of dead children
    return ticks * _TICK_S


def pss_mb(pid: int) -> float:
    """Returns the proportional set size of a process and its descendants, in MB of a million bytes."""
    total = 0
    for each in tree(pid):
        try:
            lines = (_PROC / str(each) / "smaps_rollup").read_text().splitlines()
        except OSError:  # it ended in between
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total / 1e6


def _stat(pid: int) -> list[str]:
    """Returns the fields of /proc/PID/stat from the state on; none where the process is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
