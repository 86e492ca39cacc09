"""Writes MODEL_CARD.md: what the bundle learned from, what it can and cannot do, in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sensorium.cli.inputs import Kind
from training.concepts import LABELS
from training.measuring import NAMED, OFF_TOPIC
from training.originals import HELD_OUT_SPEAKER
from training.package import Calibration
from training.settings import DIM, SPACE, Settings
from training.unsure import SHARE, Level

_CARD = """# {space}: text, pictures and sounds in one small space

Five models: three encoders (`tiny-text`, `tiny-vision`, `tiny-audio`), \
a fusion model that joins vectors (`tiny-fusion`), and a head that names concepts (`tiny-concepts`). \
All vectors have {dim} numbers and length 1. Made by `python -m training` of this repository: seed {seed}, \
{steps} steps, {minutes} minutes of preparation and training on two CPU threads.

## What it knows

- **Labels**: {labels}; by their English names, common synonyms, and Chinese names.
- **Drawn scenes**: one to three small or large shapes (circle, square, triangle, star, cross) of one colour, \
described in English or Chinese: `two small red circles`, `两个小红色圆`.
- **Sounds**: spoken digits, animal calls, and the labels and English scene captions as espeak-ng speaks them.

## What it does not know

Beside these it has seen patterns, letters, tones and other words, to learn that they are none of these; and nothing \
else. A photograph of a house, a sentence about politics or a piece of music gets a vector, but \
one that means nothing; compare top scores and probabilities before believing an answer (see *Off topic*). \
It does not know people, text in \
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
Every number is of files that went through a running mesh of these packages, by `sensorium evaluate`'s code \
(`training/held_out.py` writes the files, `training/measuring.py` asks); names are put through the package's templates.

| task | share |
|---|---|
{rows}

| among 240 scenes, of combinations not in training | R@1 | R@5 | R@10 |
|---|---|---|---|
{recalls}

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

## None of these

`Classify` says `is_unsure` of a ranking whose best label has a cosine below `none_cosine`, one level for each kind of \
query: {share} of the best labels of off-topic items lie below it, over every set of names and every folder of things \
that have none of them, each pair weighing alike. It costs some right answers, which then are marked too.

{levels}

What is close to a label gets past it: patterns and cut-up photographs among the classes of photographs, music among \
animals, words among words. It is measured with the package's templates and names alone: other templates move cosines, \
and where a label has examples nothing is said.

## Calibration

Probabilities are softmax(scale × cosine), or sigmoid(scale × cosine + bias) for independent ones; one scale for each \
kind of query, fitted on the held-out data above over its label sets, each weighing alike. So one number was fitted to \
what it is judged on; *split halves* is the error of each half of the items with the scale that was fitted on the \
other. *By chance* is the error that as few items would show if the probabilities were exactly true. \
The scale is fitted for \
short lists of names: among many captions the answers are right, and far too modest.

| `Classify` | expected calibration error | split halves | by chance |
|---|---|---|---|
{errors}

| queries | scale | bias |
|---|---|---|
{calibration}
"""


def model_card(
    numbers: Mapping[str, float],
    recalls: Mapping[str, Sequence[float]],
    calibration: Mapping[str, Calibration],
    levels: Mapping[Kind, Level],
    settings: Settings,
    duration_s: float,
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
        recalls="\n".join(_row(task, [shown(task, share) for share in found]) for task, found in recalls.items()),
        errors="\n".join(
            _row(task, [f"{numbers[kind + name]:.3f}" for kind, name in _errors_of(task, question.folder)])
            for task, question in NAMED.items()
        ),
        off_topic="\n".join(
            _row(case, [f"{numbers[f'AUROC by top {by}: {case}']:.3f}" for by in ("score", "probability")])
            for case in OFF_TOPIC
        ),
        share=f"{100 * SHARE:.0f} %",
        levels=none_tables(levels),
        latency="\n".join(
            f"| {task.partition(': ')[2]} | {shown(task, number)} |"
            for task, number in numbers.items()
            if task.startswith("ms ")
        ),
        calibration="\n".join(
            f"| {name} | {fit.logit_scale:.1f} | {fit.logit_bias:.1f} |" for name, fit in calibration.items()
        ),
    )


def none_tables(levels: Mapping[Kind, Level]) -> str:
    """Returns what the levels do: to right answers, and to off-topic items that they were not measured on."""
    below = [(kind, pair, share) for kind, level in levels.items() for pair, share in level.below.items()]
    marked = [(kind, name, share) for kind, level in levels.items() for name, share in level.marked.items()]
    return "\n".join(
        [
            "| queries | `none_cosine` |",
            "|---|---|",
            *(_row(kind, [f"{level.none_cosine:.4f}"]) for kind, level in levels.items()),
            "",
            "| queries | off topic | marked, by the level of the other half of them |",
            "|---|---|---|",
            *(_row(kind, [pair, f"{100 * share:.1f} %"]) for kind, pair, share in below),
            "",
            "| queries | right answers | marked all the same |",
            "|---|---|---|",
            *(_row(kind, [name, f"{100 * share:.1f} %"]) for kind, name, share in marked),
        ]
    )


def shown(task: str, number: float) -> str:
    """Returns a number as tables show it: errors and areas as they are, milliseconds, shares in percent."""
    if _is_share(task):
        return f"{100 * number:.1f} %"
    return f"{number:.2f}" if task.startswith("ms ") else f"{number:.3f}"


def _is_share(task: str) -> bool:
    return not task.startswith(("calibration error", "AUROC", "ms "))


def _row(first: str, others: Sequence[str]) -> str:
    return f"| {' | '.join([first, *others])} |"


def _errors_of(task: str, folder: str) -> Sequence[tuple[str, str]]:
    """Returns the beginning and the end of the names of the three errors of a task."""
    kinds = ("calibration error: ", "calibration error, split halves: ", "calibration error by chance: ")
    return list(zip(kinds, (task, folder, folder), strict=True))
