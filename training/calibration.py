"""Fits how cosines become probabilities, on vectors that training did not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from training.captions import SCENES, caption
from training.concepts import LABELS
from training.evaluation import Encoder, Vectors, label_tasks
from training.joining import meaning_ids
from training.package import Calibration

_SCALES = torch.logspace(0.5, 2, 151)  # 3.2 to 100
_BIASES = torch.linspace(-40, 5, 181)
_SOURCES = {
    "image": ("handwritten", "typed", "photographs"),
    "audio": ("spoken", "animals", "words"),
}

Choice = tuple[Tensor, Tensor]  # cosines (n, candidates), index of the right one (n,)


def calibrate(encoder: Encoder, vectors: Mapping[str, Vectors]) -> dict[str, Calibration]:
    """Returns the calibration by query modality."""
    scenes = encoder.texts([caption(scene) for scene in SCENES])
    choices = {
        "image": [*_named(encoder, vectors, _SOURCES["image"]), _scene_choice(vectors["scenes"], scenes)],
        "audio": [*_named(encoder, vectors, _SOURCES["audio"]), _scene_choice(vectors["phrases"], scenes)],
        "text": _text_choices(encoder, vectors),
    }
    return {modality: fit(found) for modality, found in choices.items()}


def fit(choices: Sequence[Choice]) -> Calibration:
    """Returns the scale of least mean cross-entropy, each choice counting alike, and the bias that goes with it."""
    losses = [sum(float(F.cross_entropy(scale * cos, truth)) for cos, truth in choices) for scale in _SCALES]
    scale = float(_SCALES[losses.index(min(losses))])
    return Calibration(scale, _fit_bias(choices, scale))


def expected_calibration_error(cosines: Tensor, truth: Tensor, scale: float, bins: int = 15) -> float:
    """Returns the mean gap between top probability and accuracy over equal bins of probability (Guo et al. 2017)."""
    top, found = (scale * cosines).softmax(1).max(1)
    right = (found == truth).float()
    place = (top * bins).long().clamp(max=bins - 1)
    gaps = [
        (right[place == i] - top[place == i]).mean().abs() * (place == i).float().mean()
        for i in range(bins)
        if (place == i).any()
    ]
    return float(torch.stack(gaps).sum())


def calibration_errors(
    encoder: Encoder, vectors: Mapping[str, Vectors], calibration: Mapping[str, Calibration]
) -> dict[str, float]:
    """Returns the expected calibration error of `Classify` by task."""
    errors = {}
    for task, (source, labels) in label_tasks().items():
        modality = "image" if source in _SOURCES["image"] else "audio"
        cosines, truth = _choice(encoder, vectors[source], labels)
        errors[f"calibration error: {task}"] = expected_calibration_error(
            cosines, truth, calibration[modality].logit_scale
        )
    return errors


def _fit_bias(choices: Sequence[Choice], scale: float) -> float:
    """Returns the bias of least binary cross-entropy, right and wrong pairs weighing alike."""
    right = torch.cat([cos.gather(1, truth[:, None])[:, 0] for cos, truth in choices]) * scale
    wrong = torch.cat([cos[F.one_hot(truth, cos.shape[1]) == 0] for cos, truth in choices]) * scale
    wrong = wrong[:: max(1, len(wrong) // 20_000)]
    losses = [float(F.softplus(-(right + b)).mean() + F.softplus(wrong + b).mean()) for b in _BIASES]
    return float(_BIASES[losses.index(min(losses))])


def _named(encoder: Encoder, vectors: Mapping[str, Vectors], sources: Sequence[str]) -> list[Choice]:
    return [_choice(encoder, vectors[source], labels) for source, labels in label_tasks().values() if source in sources]


def _choice(encoder: Encoder, vectors: Vectors, labels: Sequence[str]) -> Choice:
    places = torch.tensor([LABELS.index(label) for label in labels])
    truth = (vectors.labels[:, None] == places[None]).long().argmax(1)
    return vectors.rows @ encoder.prototypes(labels).T, truth


def _scene_choice(vectors: Vectors, captions: Tensor) -> Choice:
    return vectors.rows @ captions.T, meaning_ids(vectors.meanings) - len(LABELS)


def _text_choices(encoder: Encoder, vectors: Mapping[str, Vectors], rounds: int = 40) -> list[Choice]:
    """Returns choices of a text among one random item of each label of a task."""
    rng = torch.Generator().manual_seed(6)
    choices = []
    for source, labels in label_tasks().values():
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
