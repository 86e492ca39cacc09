"""Fits how cosines become probabilities, on vectors that training did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from training.concepts import LABELS
from training.encoding import Encoder, Vectors
from training.held_out import LABELLED
from training.joining import meaning_ids
from training.package import Calibration

_SCALES = torch.logspace(0.5, 2, 151)  # 3.2 to 100
_BIASES = torch.linspace(-40, 5, 181)
_MODALITIES = ("image", "audio")

Choice = tuple[Tensor, Tensor]  # cosines (n, candidates), index of the right one (n,)


@dataclass(frozen=True, slots=True)
class Answers:
    """Probabilities (n, candidates) that `Classify` would give, and the index of the right one (n,)."""

    probabilities: Tensor
    truth: Tensor

    @property
    def top(self) -> Tensor:
        """The highest probability of each item."""
        return self.probabilities.amax(1)

    @property
    def right(self) -> Tensor:
        """1 where the answer of the highest probability is right, else 0."""
        return (self.probabilities.argmax(1) == self.truth).float()


def calibrate(encoder: Encoder, vectors: Mapping[str, Vectors]) -> dict[str, Calibration]:
    """Returns the calibration by query modality.

    Fitted on the label sets, each weighing alike, and not on the 240 captions: a choice among so many wants a scale
    so high that answers among ten names would be far too sure.
    """
    return _heard_and_seen(encoder, vectors) | {"text": fit(_text_choices(encoder, vectors))}


def _heard_and_seen(encoder: Encoder, vectors: Mapping[str, Vectors]) -> dict[str, Calibration]:
    return {
        modality: fit(
            [
                _choice(encoder, vectors[name], labels)
                for name, labels in _labelled(modality).items()
                if _are_names(labels)
            ]
        )
        for modality in _MODALITIES
    }


def _labelled(modality: str) -> dict[str, Sequence[str]]:
    return {name: labels for name, (kind, labels) in LABELLED.items() if kind == modality}


def _are_names(labels: Sequence[str]) -> bool:
    """Returns whether the labels are names of things, and not captions."""
    return set(labels) <= set(LABELS)


def halves(vectors: Vectors) -> tuple[Vectors, Vectors]:
    """Returns two halves, the same at every call, each with half of the items of each meaning."""
    shuffled = torch.randperm(len(vectors.rows), generator=torch.Generator().manual_seed(7))
    order = shuffled[meaning_ids(vectors.meanings)[shuffled].argsort(stable=True)]
    one, other = order[::2], order[1::2]
    return Vectors(vectors.rows[one], vectors.meanings[one]), Vectors(vectors.rows[other], vectors.meanings[other])


def held_out_answers(encoder: Encoder, vectors: Mapping[str, Vectors]) -> dict[str, Answers]:
    """Returns answers by task: those on each half of the items with the calibration fitted on the other half."""
    split = {source: halves(found) for source, found in vectors.items()}
    ones = {source: one for source, (one, _) in split.items()}
    others = {source: other for source, (_, other) in split.items()}
    found = [
        _answers(encoder, others, _heard_and_seen(encoder, ones)),
        _answers(encoder, ones, _heard_and_seen(encoder, others)),
    ]
    return {task: _joined([answers[task] for answers in found]) for task in found[0]}


def fit(choices: Sequence[Choice]) -> Calibration:
    """Returns the scale of least mean cross-entropy, each choice counting alike, and the bias that goes with it."""
    losses = [sum(float(F.cross_entropy(scale * cos, truth)) for cos, truth in choices) for scale in _SCALES]
    scale = float(_SCALES[losses.index(min(losses))])
    return Calibration(scale, _fit_bias(choices, scale))


def expected_calibration_error(top: Tensor, right: Tensor, bins: int = 15) -> float:
    """Returns the mean gap between top probability and accuracy over equal bins of probability (Guo et al. 2017)."""
    place = (top * bins).long().clamp(max=bins - 1)
    gaps = (torch.bincount(place, right - top, minlength=bins)).abs()
    return float(gaps.sum() / len(top))


def error_by_chance(answers: Answers, rounds: int = 50) -> float:
    """Returns the mean error that would be measured on as many items if the probabilities were exactly true.

    Few items leave few in a bin, and their accuracy differs from the probability by chance alone.
    """
    dice = torch.Generator().manual_seed(8)
    draws = [torch.bernoulli(answers.top, generator=dice) for _ in range(rounds)]
    return sum(expected_calibration_error(answers.top, right) for right in draws) / rounds


def split_half_errors(answers: Mapping[str, Answers]) -> dict[str, float]:
    """Returns the expected calibration error of `Classify` by folder, and what chance alone would show."""
    errors = {}
    for name, found in answers.items():
        errors[f"calibration error, split halves: {name}"] = expected_calibration_error(found.top, found.right)
        errors[f"calibration error by chance: {name}"] = error_by_chance(found)
    return errors


def _answers(
    encoder: Encoder, vectors: Mapping[str, Vectors], calibration: Mapping[str, Calibration]
) -> dict[str, Answers]:
    return {
        name: _answer(_choice(encoder, vectors[name], labels), calibration[modality].logit_scale)
        for modality in _MODALITIES
        for name, labels in _labelled(modality).items()
    }


def _answer(choice: Choice, scale: float) -> Answers:
    cosines, truth = choice
    return Answers((scale * cosines).softmax(1), truth)


def _joined(parts: Sequence[Answers]) -> Answers:
    return Answers(torch.cat([part.probabilities for part in parts]), torch.cat([part.truth for part in parts]))


def _fit_bias(choices: Sequence[Choice], scale: float) -> float:
    """Returns the bias of least binary cross-entropy, right and wrong pairs weighing alike."""
    right = torch.cat([cos.gather(1, truth[:, None])[:, 0] for cos, truth in choices]) * scale
    wrong = torch.cat([cos[F.one_hot(truth, cos.shape[1]) == 0] for cos, truth in choices]) * scale
    wrong = wrong[:: max(1, len(wrong) // 20_000)]
    losses = [float(F.softplus(-(right + b)).mean() + F.softplus(wrong + b).mean()) for b in _BIASES]
    return float(_BIASES[losses.index(min(losses))])


def _choice(encoder: Encoder, vectors: Vectors, labels: Sequence[str]) -> Choice:
    truth = meaning_ids(vectors.meanings)
    if _are_names(labels):
        places = torch.tensor([LABELS.index(label) for label in labels])
        truth = (truth[:, None] == places[None]).long().argmax(1)
    else:
        truth = truth - len(LABELS)
    return vectors.rows @ encoder.prototypes(labels).T, truth


def _text_choices(encoder: Encoder, vectors: Mapping[str, Vectors], rounds: int = 40) -> list[Choice]:
    """Returns choices of a text among one random item of each label of a task."""
    rng = torch.Generator().manual_seed(6)
    choices = []
    for source, (_, labels) in LABELLED.items():
        if not _are_names(labels):
            continue
        queries, found = encoder.prototypes(labels), vectors[source]
        own = [torch.nonzero(found.labels == LABELS.index(label))[:, 0] for label in labels]
        if min(len(rows) for rows in own) == 0:
            continue
        picks = [
            torch.stack([rows[torch.randint(len(rows), (), generator=rng)] for rows in own]) for _ in range(rounds)
        ]
        cosines = torch.cat([queries @ found.rows[pick].T for pick in picks])
        choices.append((cosines, torch.arange(len(labels)).repeat(rounds)))
    return choices
