"""Writes MODEL_CARD.md: what the bundle learned from, what it can and cannot do, in numbers."""

from __future__ import annotations

from collections.abc import Mapping

from training.concepts import LABELS
from training.originals import HELD_OUT_SPEAKER
from training.package import Calibration
from training.settings import DIM, SPACE, Settings

_CARD = """# {space}: text, pictures and sounds in one small space

Five models: three encoders of about half a million parameters each (`tiny-text`, `tiny-vision`, `tiny-audio`), \
a fusion model that joins vectors (`tiny-fusion`), and a head that names concepts (`tiny-concepts`). \
All vectors have {dim} numbers and length 1. Made by `python -m training` of this repository: seed {seed}, \
{steps} steps, {minutes} minutes of preparation and training on two CPU threads.

## What it knows

- **Labels**: {labels}; by their English names, common synonyms, and Chinese names.
- **Drawn scenes**: one to three small or large shapes (circle, square, triangle, star, cross) of one colour, \
described in English or Chinese: `two small red circles`, `两个小红色圆`.
- **Sounds**: spoken digits, animal calls, and the labels and English scene captions as espeak-ng speaks them.

## What it does not know

It has seen nothing else. A photograph of a house, a sentence about politics or a piece of music gets a vector, but \
one that means nothing; compare top probabilities before believing an answer. It does not know people, text in \
pictures, several digits at once, scenes with mixed shapes, or speech beyond single words and scene captions. \
Photographs are seen at 32 × 32 pixels. Rare animals (donkey, monkey, chicken, frog) were learned from 19 to \
26 recordings each and measured on three or four: those numbers are rough; and recordings of one animal may stem from \
one source, so that new recordings may do worse. Synthetic voices are all of one family \
(espeak-ng); natural speech was learned for the ten digits alone, from four speakers.

## Data and licences

| data | use | licence |
|---|---|---|
| CIFAR-10 (Krizhevsky 2009) | photographs, ten classes | free for research |
| MNIST (LeCun et al.) | handwritten digits | CC BY-SA 3.0 |
| Free Spoken Digit Dataset (Jackson et al.) | spoken digits | CC BY-SA 4.0 |
| Animal-Sound-Dataset (Nita et al.) | animal calls | public, no licence stated |
| drawn by `training/` with OpenCV and matplotlib's fonts | scenes, typed digits | this repository's |
| spoken by espeak-ng (GPL-3.0, used for training only) | names and captions | this repository's |

The models' own files are under Apache-2.0; nothing of the data sets is in them but what was learned.

## Measured on what training never saw

Held out: the last 5 % of each class of photographs, 12 % of the handwritten digits, 15 % of each animal's recordings, \
one speaker of the spoken digits ({speaker}), 15 % of the scene combinations, some fonts, and five timbres of \
espeak-ng. The photographs are of the training part of CIFAR-10, held out here. \
Names are those of the package's default templates.

| task | share |
|---|---|
{rows}

## Speed

| milliseconds an item at batch 1, one thread of onnxruntime | median |
|---|---|
{latency}

## Off topic

How often an item that has one of the labels scores above one that has none (area under the ROC curve; 0.5 is chance). \
Where the score tells more than the probability, compare `score` with a threshold of your own.

| labels | by top score | by top probability |
|---|---|---|
{off_topic}

## Calibration

Probabilities are softmax(scale × cosine), or sigmoid(scale × cosine + bias) for independent ones; one scale for each \
kind of query, fitted on the held-out data above over the label sets of the table, each weighing alike. For the errors \
below the data was halved: each half was judged with the scale fitted on the other. *By chance* is the error that as \
few items would show if the probabilities were exactly true. Answers among many captions are too modest: the scale is \
fitted for short lists of names.

| `Classify` | expected calibration error | by chance |
|---|---|---|
{errors}

| queries | scale | bias |
|---|---|---|
{calibration}
"""


def model_card(
    numbers: Mapping[str, float], calibration: Mapping[str, Calibration], settings: Settings, duration_s: float
) -> str:
    """Returns the card's text."""
    return _CARD.format(
        space=SPACE,
        dim=DIM,
        seed=settings.seed,
        steps=settings.steps,
        minutes=max(1, round(duration_s / 60)),
        labels=", ".join(LABELS),
        speaker=HELD_OUT_SPEAKER,
        rows="\n".join(f"| {task} | {shown(task, number)} |" for task, number in numbers.items() if _is_share(task)),
        errors="\n".join(_pairs(numbers, "calibration error: ", "calibration error by chance: ")),
        off_topic="\n".join(_pairs(numbers, "AUROC by top score: ", "AUROC by top probability: ")),
        latency="\n".join(
            f"| {task.partition(': ')[2]} | {shown(task, number)} |"
            for task, number in numbers.items()
            if task.startswith("ms ")
        ),
        calibration="\n".join(
            f"| {name} | {fit.logit_scale:.1f} | {fit.logit_bias:.1f} |" for name, fit in calibration.items()
        ),
    )


def shown(task: str, number: float) -> str:
    """Returns a number as tables show it: errors and areas as they are, milliseconds, shares in percent."""
    if _is_share(task):
        return f"{100 * number:.1f} %"
    return f"{number:.2f}" if task.startswith("ms ") else f"{number:.3f}"


def _is_share(task: str) -> bool:
    return not task.startswith(("calibration error", "AUROC", "ms "))


def _pairs(numbers: Mapping[str, float], left: str, right: str) -> list[str]:
    """Returns rows of tasks named with either prefix; a task that lacks the second number has none there."""
    return [
        f"| {task.removeprefix(left)} | {number:.3f} | {_or_dash(numbers.get(right + task.removeprefix(left)))} |"
        for task, number in numbers.items()
        if task.startswith(left)
    ]


def _or_dash(number: float | None) -> str:
    return "–" if number is None else f"{number:.3f}"
