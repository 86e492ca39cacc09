"""What an item means, in numbers: which items of which modality belong together."""

from __future__ import annotations

import torch
from torch import Tensor

from training.captions import COLOURS, COUNTS, SHAPES, SIZES, Scene
from training.concepts import LABELS

SCENE = len(LABELS)  # the first field of every scene
FIELD_SIZES = (len(LABELS) + 1, len(COUNTS), len(SIZES), len(COLOURS), len(SHAPES))

Meaning = tuple[int, int, int, int, int]  # label, count, size, colour, shape; -1 where nothing is said


def of_label(label: int) -> Meaning:
    """Returns the meaning of a digit, a thing or an animal."""
    return (label, -1, -1, -1, -1)


def of_scene(scene: Scene) -> Meaning:
    """Returns the meaning of a scene, or of a text that says a part of one."""
    return (SCENE, scene.count, scene.size, scene.colour, scene.shape)


def matches(left: Tensor, right: Tensor) -> Tensor:
    """Returns (n, m) bool of meanings (n, 5) and (m, 5): nothing that both say differs."""
    a, b = left[:, None], right[None]
    agree: Tensor = ((a == b) | (a < 0) | (b < 0)).all(2)
    return agree


def tensor(meanings: list[Meaning]) -> Tensor:
    """Returns (n, 5) int64."""
    return torch.tensor(meanings, dtype=torch.int64)
