"""Encodes with trained towers as the services do with the packages: what fusion and calibration build on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from training import augment, meanings
from training.contrastive import Towers
from training.package import TEMPLATES
from training.prepare import Images, Sounds
from training.tokenizer import tokenize

_CHUNK = 250


@dataclass(frozen=True, slots=True)
class Vectors:
    """Unit vectors (n, DIM) of items, and their meanings (n, 5)."""

    rows: Tensor
    meanings: Tensor

    @property
    def labels(self) -> Tensor:
        """The first field of each meaning."""
        return self.meanings[:, 0]


class Encoder:
    """Trained towers and their tokenizer."""

    def __init__(self, towers: Towers, tokenizer: Tokenizer) -> None:
        self._towers = towers.eval()
        self._tokenizer = tokenizer

    def images(self, images: Images, change: Callable[[Tensor], Tensor] = lambda x: x) -> Vectors:
        """Returns vectors of pictures; `change` works on their pixels of 0..1 first."""
        rows = [
            self._image_rows(change(augment.pixels(images.pixels[at : at + _CHUNK])))
            for at in range(0, len(images.meanings), _CHUNK)
        ]
        return Vectors(torch.cat(rows), meanings.tensor(images.meanings))

    def sounds(self, sounds: Sounds, change: Callable[[Tensor], Tensor] = lambda x: x) -> Vectors:
        """Returns vectors of sounds, those of one length together; `change` works on their features first."""
        rows = torch.empty(len(sounds.meanings), self._towers.readout.in_features)
        lengths = np.array([clip.shape[1] for clip in sounds.features])
        for length in sorted(set(lengths.tolist())):
            for places in np.array_split(np.flatnonzero(lengths == length), -(-int((lengths == length).sum()) // 64)):
                clips = change(augment.collate([sounds.features[i] for i in places], length, None))
                rows[torch.from_numpy(places)] = self._sound_rows(clips)
        return Vectors(rows, meanings.tensor(sounds.meanings))

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Returns (texts, DIM) unit rows."""
        rows = [
            F.normalize(self._towers.text(*tokenize(self._tokenizer, texts[at : at + _CHUNK])), dim=1)
            for at in range(0, len(texts), _CHUNK)
        ]
        return torch.cat(rows)

    def prototypes(self, names: Sequence[str]) -> Tensor:
        """Returns (names, DIM) unit rows: the mean over the package's templates, as `Classify` takes it."""
        rows = torch.stack([self.texts([template.format(name) for name in names]) for template in TEMPLATES])
        return F.normalize(rows.mean(0), dim=1)

    @torch.inference_mode()
    def _image_rows(self, x: Tensor) -> Tensor:
        return F.normalize(self._towers.vision(augment.normalize(x)), dim=1)

    @torch.inference_mode()
    def _sound_rows(self, x: Tensor) -> Tensor:
        return F.normalize(self._towers.audio(x), dim=1)
