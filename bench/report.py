"""Writes what a run found: tables for the terminal, Markdown and JSON."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.campaign import Findings
from bench.environments import versions
from bench.goals import Goal, goals
from bench.load.calibrate import Ceiling
from bench.plan import Plan
from bench.results import OpenRow, Row

_OURS = ("onnxruntime", "grpcio", "tokenizers", "numpy", "protobuf")

Cells = Sequence[Sequence[str]]


def document(plan: Plan, findings: Findings, ceilings: Sequence[Ceiling], took_s: float) -> dict[str, Any]:
    """Returns all of a run as JSON. Any: that is what JSON is."""
    return {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "took_s": round(took_s),
        "machine": machine(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _OURS},
            **{system.name: versions(system) for system in plan.systems if system.packages},
        },
        "plan": {
            "kinds": plan.kinds, "callers": plan.callers, "rounds": plan.rounds, "seconds": plan.seconds,
            "raw_s": plan.raw_s, "warmup_s": plan.warmup_s, "sweep_s": plan.sweep_s, "open_s": plan.open_s,
            "text_count": plan.text_count, "soak_requests": plan.soak_requests, "cold_rounds": plan.cold_rounds,
        },
        "goals": [each.record() for each in goals(findings)],
        "generator": [asdict(each) for each in ceilings],
        **asdict(findings),
    }  # fmt: skip


def machine() -> Mapping[str, Any]:
    """Returns what the numbers were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    memory = Path("/proc/meminfo").read_text().split()[1]
    return {
        "cpu": next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), ""),
        "cpus": len(os.sched_getaffinity(0)),
        "instructions": [flag for flag in flags if flag.startswith(("avx512", "amx")) or flag in ("avx2", "avx_vnni")],
        "memory_gib": round(int(memory) / 2**20, 1),
        "load": [round(each, 2) for each in os.getloadavg()],
        "kernel": platform.release(),
    }


def row_cells(rows: Sequence[Row]) -> Cells:
    """Returns the table of the closed loops, its head first."""
    head = ["input", "callers", "system", "setting", "rate /s", "(low–high)", "of the limit", "p50 ms", "p90", "p99",
            "added ms", "p99 added", "CPU ms", "× limit", "PSS MB", "padded/real", "generator CPU",
            "failed"]  # fmt: skip
    return [head, *(_row(each) for each in rows)]


def _row(each: Row) -> Sequence[str]:
    return [
        each.kind, str(each.callers), each.system, each.setting, f"{each.rate:.0f}",
        f"{each.rate_low:.0f}–{each.rate_high:.0f}", f"{each.limit:.2f} ({each.limit_low:.2f}–{each.limit_high:.2f})",
        f"{each.p50_ms:.1f}", f"{each.p90_ms:.1f}", f"{each.p99_ms:.1f}",
        _known(each.added_ms), _known(each.added_p99_ms), f"{each.cpu_ms:.2f}", f"{each.cpu_ratio:.2f}",
        f"{each.pss_mb:.0f}", _known(each.padding), f"{each.generator_cpu:.3f}",
        _failed(each.failed),
    ]  # fmt: skip


def goal_cells(found: Sequence[Goal]) -> Cells:
    """Returns the table of what is to be reached, its head first."""
    return [["", "what", "wanted", "reached", "ratio", "verdict", "note"], *([
        each.number, each.what, f"{'≥' if each.is_least else '≤'} {each.wanted:g} {each.unit}".strip(),
        f"{_known(each.reached)} {each.unit}".strip() if each.reached is not None else "", _known(each.ratio),
        each.verdict, each.note,
    ] for each in found)]  # fmt: skip


def open_cells(rows: Sequence[OpenRow]) -> Cells:
    """Returns the table of the open loops, its head first."""
    head = ["input", "system", "setting", "of capacity", "sent /s", "answered /s", "p50 ms", "p99 ms", "refused /s",
            "refusal p50 ms", "refusal p99 ms", "expired /s", "failed"]  # fmt: skip
    return [head, *([
        each.kind, each.system, each.setting, f"{each.share:.1f}", f"{each.rate:.0f}", f"{each.answered:.0f}",
        f"{each.p50_ms:.1f}", f"{each.p99_ms:.1f}", f"{each.refused:.0f}", f"{each.refusal_p50_ms:.1f}",
        f"{each.refusal_p99_ms:.1f}", f"{each.expired:.1f}", _failed(each.failed),
    ] for each in rows)]  # fmt: skip


def other_cells(findings: Findings, ceilings: Sequence[Ceiling]) -> Mapping[str, Cells]:
    """Returns the small tables by their titles: the limit, the generator, what is missing, the sweep."""
    limits = [[kind, way, f"{rate:.0f}"] for kind, rates in findings.limits.items() for way, rate in rates.items()]
    tops = [[each.wire, str(each.callers), f"{each.rate:.0f}", f"{each.cpu_us:.0f}"] for each in ceilings]
    swept = [
        [kind, system, str(callers), setting, f"{rate:.0f}"]
        for kind, systems in findings.swept.items()
        for system, by_callers in systems.items()
        for callers, rates in by_callers.items()
        for setting, rate in sorted(rates.items(), key=lambda pair: -pair[1])
    ]
    colds = [[name, f"{seconds:.2f}"] for name, seconds in findings.cold_s.items()]
    scaled = [[each.kind, each.system, str(each.cpus), f"{each.rate:.0f}", f"{each.limit_rate:.0f}"]
              for each in findings.scaling]  # fmt: skip
    starts = [[system, f"{seconds:.1f}"] for system, seconds in findings.start_s.items()]
    return {
        "The limit: onnxruntime alone, one process a core": [["input", "batches of", "rate /s"], *limits],
        "The load generator against a server that answers at once": [
            ["wire", "callers", "calls /s", "its CPU µs a call"], *tops],
        "From start to the first answer": [["system", "s"], *starts],
        "From start to readiness, with the packages that ship": [["service", "s"], *colds],
        "One core and all, 32 callers": [["input", "system", "CPUs", "rate /s", "limit /s"], *scaled],
        "Not measured": [["system", "why"], *([name, why] for name, why in findings.missing.items())],
        "The sweep": [["input", "system", "callers", "setting", "rate /s"], *swept],
    }  # fmt: skip


def markdown(title: str, cells: Cells) -> str:
    """Returns a table with its title."""
    lines = ["| " + " | ".join(each.replace("|", "/") for each in line) + " |" for line in cells]
    lines.insert(1, "|" + "---|" * len(cells[0]))
    return f"## {title}\n\n" + "\n".join(lines) + "\n"


def write(folder: Path, name: str, found: Mapping[str, Any], tables: Mapping[str, Cells]) -> Path:
    """Writes NAME.json and NAME.md, and returns the path of the first. Any: JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    about = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    body = "\n".join(markdown(title, cells) for title, cells in tables.items() if len(cells) > 1)
    path.with_suffix(".md").write_text(f"# {found['at']}\n\n{about}; {found['took_s']} s.\n\n{body}")
    return path


def _known(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _failed(failed: Mapping[str, int]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in failed.items())
