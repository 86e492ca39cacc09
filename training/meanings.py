"""What an item means, in numbers: which items of which modality belong together."""

from __future__ import annotations

import torch
from torch import Tensor

from training.captions import COLOURS, COUNTS, SHAPES, SIZES, Scene
from training.concepts import LABELS

SCENE = len(LABELS)  # the first field of every scene
NOTHING = SCENE + 1  # the first field of what no label and no caption says
FIELD_SIZES = (len(LABELS) + 2, len(COUNTS), len(SIZES), len(COLOURS), len(SHAPES))

Meaning = tuple[int, int, int, int, int]  # label, count, size, colour, shape; -1 where nothing is said


def of_label(label: int) -> Meaning:
    """Returns the meaning of a digit, a thing or an animal."""
    return (label, -1, -1, -1, -1)


def of_scene(scene: Scene) -> Meaning:
    """Returns the meaning of a scene, or of a text that says a part of one."""
    return (SCENE, scene.count, scene.size, scene.colour, scene.shape)


def of_nothing() -> Meaning:
    """Returns the meaning of what has no name here: noise, letters, a chord, the word `kettle`."""
    return (NOTHING, -1, -1, -1, -1)


def matches(left: Tensor, right: Tensor) -> Tensor:
    """Returns (n, m) bool of meanings (n, 5) and (m, 5): nothing that both say differs, and both say something."""
    a, b = left[:, None], right[None]
    agree: Tensor = ((a == b) | (a < 0) | (b < 0)).all(2) & (b[:, :, 0] != NOTHING)
    return agree


def targets(left: Tensor, right: Tensor) -> Tensor:
    """Returns (n, m) float32: what each of `left` should find among `right`, as shares.

    What means something finds its matches, all alike; a row without any is 0. What means nothing finds all that mean
    something alike: no answer is surer than another ("outlier exposure", Hendrycks, Mazeika and Dietterich 2019).
    """
    means_nothing = left[:, :1] == NOTHING
    wanted = torch.where(means_nothing, right[None, :, 0] != NOTHING, matches(left, right)).float()
    return wanted / wanted.sum(1, keepdim=True).clamp(min=1)


def tensor(meanings: list[Meaning]) -> Tensor:
    """Returns (n, 5) int64."""
    return torch.tensor(meanings, dtype=torch.int64)
