"""Writes `report/` of a run: one page with every number against its goal, and figures of how it came about."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import torch
from matplotlib.figure import Figure

from training import figures, meanings
from training.calibration import Answers
from training.card import shown
from training.concepts import DIGITS, LABELS
from training.encoding import Encoder, Vectors
from training.measuring import NAMED, Measured

_MOST_POINTS = 400  # of one source in the plane
_DIGIT_LABELS = tuple(concept.label for concept in DIGITS)
_CHANGED = ("inverted", "off centre", "of its speed", "at 10 dB", "given at")
_CHINESE = ", Chinese names"

# What the project set out to reach; tasks that are not named here have no goal of their own.
_AT_LEAST = {
    "handwritten digit → word": 0.985,
    "spoken digit (speaker not in training) → word": 0.93,
    "photograph → class name": 0.88,
    "animal sound → animal name": 0.75,
    "animal sound (dog, cat, bird, frog) → photographs, P@5": 0.75,
    "scene (unseen combination) → caption, 240-way": 0.95,
    "spoken caption (unseen voice and combination) → scene, R@1": 0.95,
    "inverted handwritten digit → word": 0.90,
    "handwritten digit off centre by 3 of 28 pixels → word": 0.90,
    "spoken digit at 0.85 of its speed → word": 0.85,
    "spoken digit at 1.15 of its speed → word": 0.85,
    "spoken digit with white noise at 10 dB → word": 0.85,
}
_CONFUSED = (
    "handwritten digit → word",
    "spoken digit (speaker not in training) → word",
    "photograph → class name",
    "animal sound → animal name",
)
_FUSED = "fusion, both noisy: "


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound, from below or (`is_most`) from above."""

    bound: float
    is_most: bool = False

    def is_met(self, number: float) -> bool:
        """Returns whether a number keeps to the bound."""
        return number <= self.bound if self.is_most else number >= self.bound


def write_report(
    folder: Path,
    encoder: Encoder,
    vectors: Mapping[str, Vectors],
    answers: Mapping[str, Answers],
    measured: Measured,
) -> Path:
    """Writes `report/` with its figures into the run's folder, and returns the page."""
    target = folder / "report"
    target.mkdir(exist_ok=True)
    drawn = _draw(folder / "towers.jsonl", encoder, vectors, answers, measured)
    for name, figure in drawn.items():
        figure.savefig(target / f"{_file_name(name)}.png", dpi=110)
    page = target / "report.html"
    page.write_text(_page(target, list(drawn), measured.numbers, measured.recalls), encoding="utf-8")
    return page


def goals(numbers: Mapping[str, float]) -> dict[str, Goal]:
    """Returns the goals of the tasks that have one; some depend on other tasks' numbers."""
    found = {task: Goal(bound) for task, bound in _AT_LEAST.items() if task in numbers}
    for task in numbers:
        if task.endswith(_CHINESE):
            found[task] = Goal(numbers[task.removesuffix(_CHINESE)] - 0.02)
        elif task.startswith("calibration error:"):
            found[task] = Goal(0.05, is_most=True)
        elif task.startswith("ms "):
            found[task] = Goal(3.0, is_most=True)
        elif task.startswith("AUROC"):
            found[task] = Goal(0.85)
    alone = {name: numbers.get(f"{_FUSED}{name} alone → word", 0.0) for name in ("picture", "sound")}
    found[f"{_FUSED}fused → word"] = Goal(max(alone.values()) + 0.10)
    found[f"{_FUSED}picture through fusion, sound missing → word"] = Goal(alone["picture"] - 0.01)
    found[f"{_FUSED}sound through fusion, picture missing → word"] = Goal(alone["sound"] - 0.01)
    found["photograph given at 640 × 480 pixels → class name"] = Goal(
        numbers.get("photograph given at 32 × 32 pixels → class name", 0.0) - 0.03
    )
    return {task: goal for task, goal in found.items() if task in numbers}


def groups(numbers: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Returns the numbers by what they are about; what stands beside an error is in no group."""
    found: dict[str, dict[str, float]] = {}
    for task, number in numbers.items():
        if not task.startswith(("calibration error by chance", "calibration error, split halves")):
            found.setdefault(_group(task), {})[task] = number
    return found


def _group(task: str) -> str:
    starts = {"fusion": "fusion", "calibration": "calibration error (expected by chance)", "AUROC": "off topic or not",
              "ms ": "speed"}  # fmt: skip
    for start, group in starts.items():
        if task.startswith(start):
            return group
    return "changed inputs" if any(word in task for word in _CHANGED) else "names and retrieval"


def _draw(
    log: Path,
    encoder: Encoder,
    vectors: Mapping[str, Vectors],
    answers: Mapping[str, Answers],
    measured: Measured,
) -> dict[str, Figure]:
    numbers = measured.numbers
    by_group = groups(numbers)
    shares = {name: by_group[name] for name in by_group if name not in ("speed",) and "error" not in name}
    bounds = {task: goal.bound for task, goal in goals(numbers).items()}
    steps = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    drawn = {
        "Held-out numbers": figures.bars(shares, bounds),
        "Recall": figures.recalls(measured.recalls),
        "Confusion": figures.confusions({task: measured.confusions[task] for task in _CONFUSED}),
        "Three modalities in one plane": figures.plane(_planes(encoder, vectors), LABELS),
        "Reliability": figures.reliability(answers),
    }
    return ({"Losses": figures.loss_curves(steps)} if steps else {}) | drawn


def _planes(encoder: Encoder, vectors: Mapping[str, Vectors]) -> dict[str, tuple[Sequence[str], dict[str, Vectors]]]:
    things = [label for label in LABELS if label not in _DIGIT_LABELS]
    kinds = {"digits": (list(_DIGIT_LABELS), "handwritten", "spoken"), "things": (things, "photographs", "animals")}
    return {
        title: (
            concepts,
            {
                "picture": _few(vectors[seen]),
                "sound": _few(vectors[heard]),
                "text": Vectors(
                    encoder.prototypes(concepts),
                    meanings.tensor([meanings.of_label(LABELS.index(concept)) for concept in concepts]),
                ),
            },
        )
        for title, (concepts, seen, heard) in kinds.items()
    }


def _few(vectors: Vectors) -> Vectors:
    rows = torch.randperm(len(vectors.rows), generator=torch.Generator().manual_seed(9))[:_MOST_POINTS]
    return Vectors(vectors.rows[rows], vectors.meanings[rows])


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>A training run</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0 2rem; width: 100% }}
td, th {{ text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #e4e7eb }}
td + td, th + th {{ text-align: right; white-space: nowrap }}
.met {{ color: #1a7f4b }} .missed {{ color: #b4232a; font-weight: 600 }}
img {{ max-width: 100% }}
</style>
<h1>A training run</h1>
<p>{summary} All on data that training never saw. An error expected by chance is what would be measured on as few
items if the probabilities were exactly true.</p>
{tables}
{pictures}
</html>
"""


def _page(
    target: Path, names: Sequence[str], numbers: Mapping[str, float], recalls: Mapping[str, Sequence[float]]
) -> str:
    bounds = goals(numbers)
    met = sum(_is_met(task, numbers, goal) for task, goal in bounds.items())
    tables = [_table(title, group, numbers, bounds) for title, group in groups(numbers).items()]
    pictures = [_picture(name, target / f"{_file_name(name)}.png") for name in names]
    return _PAGE.format(
        summary=f"{met} of {len(bounds)} goals are met.",
        tables="\n".join([*tables, _recall_table(recalls)]),
        pictures="\n".join(pictures),
    )


def _table(title: str, group: Mapping[str, float], numbers: Mapping[str, float], bounds: Mapping[str, Goal]) -> str:
    rows = []
    for task, number in group.items():
        goal = bounds.get(task)
        sign = "≤" if goal and goal.is_most else "≥"
        verdict = "met" if goal and _is_met(task, numbers, goal) else "missed"
        either = " by either" if task.startswith("AUROC") else ""
        wanted = f'{sign} {shown(task, goal.bound)}{either} <span class="{verdict}">{verdict}</span>' if goal else ""
        rows.append(f"<tr><td>{escape(task)}<td>{shown(task, number)}{_by_chance(task, numbers)}<td>{wanted}")
    return f"<h2>{escape(title)}</h2>\n<table><tr><th><th>measured<th>goal\n" + "\n".join(rows) + "\n</table>"


def _is_met(task: str, numbers: Mapping[str, float], goal: Goal) -> bool:
    """Returns whether a goal is met; one way to tell what is off topic is enough."""
    if not task.startswith("AUROC"):
        return goal.is_met(numbers[task])
    case = task.partition(": ")[2]
    return any(goal.is_met(number) for other, number in numbers.items() if other.endswith(f": {case}"))


def _by_chance(task: str, numbers: Mapping[str, float]) -> str:
    named = NAMED.get(task.removeprefix("calibration error: "))
    chance = numbers.get(f"calibration error by chance: {named.folder}") if named else None
    return f" ({chance:.3f})" if task.startswith("calibration error:") and chance is not None else ""


def _recall_table(recalls: Mapping[str, Sequence[float]]) -> str:
    rows = [
        f"<tr><td>{escape(task)}" + "".join(f"<td>{100 * r:.1f} %" for r in found) for task, found in recalls.items()
    ]
    head = "<h2>recall among 240 scenes, of unseen combinations</h2>\n<table><tr><th><th>R@1<th>R@5<th>R@10\n"
    return head + "\n".join(rows) + "\n</table>"


def _picture(name: str, file: Path) -> str:
    content = base64.b64encode(file.read_bytes()).decode()
    return f'<h2>{escape(name)}</h2>\n<img alt="{escape(name)}" src="data:image/png;base64,{content}">'


def _file_name(name: str) -> str:
    return name.lower().replace(" ", "-")
