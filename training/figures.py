"""Draws the report's figures with matplotlib: curves, bars, confusion matrices, a plane of vectors, reliability."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from training.calibration import Answers
from training.card import shown
from training.encoding import Vectors

_INK, _FAINT, _BLUE, _ORANGE = "#1f2933", "#cbd2d9", "#2f6db3", "#d9822b"
_MARKERS = {"picture": "o", "sound": "^", "text": "*"}
_STYLE: Any = {  # Any: matplotlib names every setting in its type
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _FAINT,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}


def loss_curves(steps: Sequence[Mapping[str, float]]) -> Figure:
    """Returns the losses of the towers by step, and the scale that they learn; `steps` are the lines of the log."""
    figure, (losses, scale) = _figure(10, 3.6, 1, 2)
    x = [line["step"] for line in steps]
    for name in ("image-text", "sound-text", "image-sound", "fields"):
        losses.plot(x, [line[name] for line in steps], label=name, linewidth=1.3)
    losses.set(xlabel="step", title="losses", yscale="log")
    losses.legend(frameon=False)
    scale.plot(x, [line["scale"] for line in steps], color=_BLUE)
    scale.set(xlabel="step", title="scale of the cosines in the losses")
    return figure


def bars(groups: Mapping[str, Mapping[str, float]], goals: Mapping[str, float]) -> Figure:
    """Returns a panel of bars for each group of shares; a short line marks what is to be reached."""
    heights = [len(group) for group in groups.values()]
    figure, panels = _figure(10, 0.29 * sum(heights) + 0.75 * len(groups), len(groups), 1, height_ratios=heights)
    for axes, (title, group) in zip(np.atleast_1d(panels), groups.items(), strict=True):
        y = np.arange(len(group))
        axes.barh(y, list(group.values()), color=_BLUE, height=0.62)
        for place, (task, share) in enumerate(group.items()):
            axes.text(1.02, place, shown(task, share), va="center", fontsize=8)
            if task in goals:
                axes.plot([goals[task]] * 2, [place - 0.42, place + 0.42], color=_ORANGE, linewidth=2)
        axes.set_yticks(y, [textwrap.fill(task, 62) for task in group], fontsize=8)
        axes.set(xlim=(0, 1.1), ylim=(len(group) - 0.4, -0.6), xticks=np.linspace(0, 1, 5))
        axes.set_title(title, loc="left", fontweight="bold")
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        axes.tick_params(axis="y", length=0)
    return figure


def recalls(found: Mapping[str, Sequence[float]]) -> Figure:
    """Returns the recalls at 1, 5 and 10 of each task."""
    figure, panels = _figure(10, 0.9 * len(found) + 0.8, 1, 1)
    axes: Axes = np.atleast_1d(panels)[0]
    for place, (k, colour) in enumerate(((1, _BLUE), (5, "#7fa8d6"), (10, _FAINT))):
        y = np.arange(len(found)) + 0.27 * (place - 1)
        shares = [each[place] for each in found.values()]
        axes.barh(y, shares, color=colour, height=0.25, label=f"R@{k}")
        for at, share in zip(y, shares, strict=True):
            axes.text(1.01, at, f"{100 * share:.1f} %", va="center", fontsize=8)
    axes.set_yticks(range(len(found)), [textwrap.fill(task, 50) for task in found])
    axes.set(xlim=(0, 1.1), xticks=np.linspace(0, 1, 5))
    axes.invert_yaxis()
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    return figure


def confusions(found: Mapping[str, tuple[Sequence[str], Tensor]]) -> Figure:
    """Returns a matrix for each task: rows are what it was, columns what it was taken for, in items."""
    rows = -(-len(found) // 2)
    figure, panels = _figure(11, 5.2 * rows, rows, 2)
    for axes, (title, (labels, counts)) in zip(panels.flat, found.items(), strict=False):
        share = (counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in torch.nonzero(counts).tolist():
            colour = "white" if share[row, column] > 0.55 else _INK
            axes.text(column, row, int(counts[row, column]), ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
        axes.set_yticks(range(len(labels)), labels)
        axes.set(title=title, xlabel="taken for", ylabel="was")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


def plane(panels: Mapping[str, tuple[Sequence[str], Mapping[str, Vectors]]], label_of: Sequence[str]) -> Figure:
    """Returns vectors of all modalities in the plane of most variance: colour is the concept, marker the modality.

    panels: by title, the concepts shown and the vectors by modality; label_of: the label of each number in meanings.
    """
    figure, axes_row = _figure(12, 6, 1, len(panels))
    for axes, (title, (concepts, found)) in zip(np.atleast_1d(axes_row), panels.items(), strict=True):
        _plane(axes, concepts, found, label_of)
        axes.set_title(title, loc="left", fontweight="bold")
    return figure


def reliability(answers: Mapping[str, Answers], bins: int = 10) -> Figure:
    """Returns accuracy against top probability for each task.

    Areas of dots are numbers of items; the lines through them span what chance alone makes of as many (one deviation).
    """
    rows = -(-len(answers) // 4)
    figure, panels = _figure(12, 3.3 * rows, rows, 4)
    for axes, (task, found) in zip(panels.flat, answers.items(), strict=False):
        place = (found.top * bins).long().clamp(max=bins - 1)
        inside = [place == i for i in range(bins) if (place == i).any()]
        top = [float(found.top[mask].mean()) for mask in inside]
        right = [float(found.right[mask].mean()) for mask in inside]
        count = np.array([int(mask.sum()) for mask in inside])
        axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, zorder=0)
        chance = np.sqrt(np.array(top) * (1 - np.array(top)) / count)
        axes.errorbar(top, right, chance, color=_BLUE, linewidth=0, elinewidth=1)
        axes.scatter(top, right, s=10 + 150 * count / count.sum(), color=_BLUE, alpha=0.75, linewidth=0)
        axes.set_title(textwrap.fill(task, 34), fontsize=8.5)
        axes.set(xlim=(0, 1.03), ylim=(0, 1.06), xlabel="top probability", ylabel="share right", aspect="equal")
    for axes in panels.flat[len(answers) :]:
        axes.set_visible(False)
    return figure


def _plane(axes: Axes, concepts: Sequence[str], found: Mapping[str, Vectors], label_of: Sequence[str]) -> None:
    rows = torch.cat([vectors.rows for vectors in found.values()])
    _, _, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    colours = dict(zip(concepts, mpl.colormaps["tab20" if len(concepts) > 10 else "tab10"].colors, strict=False))  # type: ignore[attr-defined]  # of a ListedColormap
    for modality, vectors in found.items():
        x, y = ((vectors.rows - rows.mean(0)) @ directions[:2].T).T.numpy()
        is_text = modality == "text"
        axes.scatter(
            x, y, c=[colours[label_of[label]] for label in vectors.labels.tolist()], marker=_MARKERS[modality],
            s=170 if is_text else 14, alpha=1 if is_text else 0.5, linewidth=0.8 if is_text else 0,
            edgecolor=_INK if is_text else "none", zorder=3 if is_text else 2,
        )  # fmt: skip
    shapes = [Line2D([], [], linestyle="", marker=_MARKERS[m], color=_INK, label=m) for m in found]
    colour = [Line2D([], [], linestyle="", marker="s", color=colours[name], label=name) for name in concepts]
    axes.legend(handles=[*shapes, *colour], fontsize=7.5, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.02),
                frameon=False)  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")


def _figure(
    width: float, height: float, rows: int, columns: int, height_ratios: Sequence[float] | None = None
) -> tuple[Figure, np.ndarray]:
    with mpl.rc_context(_STYLE):  # axes read most of the style when they are made
        figure = Figure((width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, height_ratios=height_ratios)
    return figure, axes
