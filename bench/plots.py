"""Draws rate and p99 against callers, as SVG, where matplotlib is installed (extra `bench`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.results import Row
from bench.scaling import Scaled

Value = Callable[[Row], float]


def draw(folder: Path, name: str, rows: Sequence[Row]) -> Sequence[Path]:
    """Draws NAME-rate.svg, NAME-share.svg and NAME-p99.svg, a panel a kind of input; none without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return []
    wanted: Mapping[str, tuple[str, Value, bool]] = {
        "rate": ("items a second", lambda row: row.rate, False),
        "share": ("rate as a share of onnxruntime alone", lambda row: row.limit, False),
        "p99": ("p99 in ms", lambda row: row.p99_ms, True),
    }
    paths = []
    for what, (title, value, is_log) in wanted.items():
        kinds = list(dict.fromkeys(row.kind for row in rows))
        if not kinds:
            return []
        figure = Figure(figsize=(5 * len(kinds), 4), layout="constrained")
        for panel, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
            _panel(panel, kind, title, [row for row in rows if row.kind == kind], value, is_log=is_log)
        paths.append(folder / f"{name}-{what}.svg")
        figure.savefig(paths[-1])
    return paths


def draw_scaling(folder: Path, name: str, found: Sequence[Scaled]) -> Sequence[Path]:
    """Draws NAME-scaling.svg: the rate over that of the limit on one core; nothing without matplotlib, or numbers."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return []
    kinds = list(dict.fromkeys(each.kind for each in found))
    if not kinds:
        return []
    figure = Figure(figsize=(4 * len(kinds), 3.5), layout="constrained")
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        points = [each for each in found if each.kind == kind]
        cpus, one = [each.cpus for each in points], points[0].limit_rate
        axes.plot(cpus, [each.rate / one for each in points], "-o", label=points[0].system)
        axes.plot(cpus, [each.limit_rate / one for each in points], "--o", label="onnxruntime alone")
        axes.set(title=kind, xlabel="cores", ylabel="rate, of the limit on one core", ylim=(0, None), xticks=cpus)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    path = folder / f"{name}-scaling.svg"
    figure.savefig(path)
    return [path]


def _panel(axes: Any, kind: str, title: str, rows: Sequence[Row], value: Value, *, is_log: bool) -> None:
    """Draws a line a system. Any: matplotlib's axes, which may not be installed."""
    for system in dict.fromkeys(row.system for row in rows):
        points = sorted((row.callers, value(row)) for row in rows if row.system == system)
        style = "-" if system.startswith("sensorium") else "--"
        axes.plot(*zip(*points, strict=True), style, marker="o", markersize=4, label=system)
    callers = sorted({row.callers for row in rows})
    axes.set(title=kind, xlabel="callers", ylabel=title, xscale="log", yscale="log" if is_log else "linear")
    axes.set_xticks(callers, [str(each) for each in callers])
    axes.minorticks_off()
    if not is_log:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
