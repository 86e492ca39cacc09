"""Composes training batches: pictures, sounds and texts of which many mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from training import augment, meanings
from training.captions import COLOURS, COUNTS, SHAPES, SIZES, Scene, describe, held_out_scenes, partial
from training.concepts import LABELS, among_words, name_concept, name_nothing
from training.meanings import Meaning
from training.nothing import words
from training.prepare import Prepared
from training.settings import Settings
from training.tokenizer import tokenize

_NAMES_PER_LABEL = 2
_PARTIALS = 24
_NEAR_MISSES = 72
_AMONG_WORDS = 0.3  # of the texts (a guess)


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input. Meanings are (n, 5) int64."""

    pixel_values: Tensor
    image_meanings: Tensor
    input_features: Tensor
    sound_meanings: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    text_meanings: Tensor


class Sampler:
    """Makes the batch of any step from the seed and the step's number alone, so that a resumed run goes on alike."""

    def __init__(self, prepared: Prepared, tokenizer: Tokenizer, settings: Settings) -> None:
        self._prepared = prepared
        self._tokenizer = tokenizer
        self._settings = settings
        self._animal_odds = _balanced(prepared.sounds["animals"].meanings)

    def batch(self, step: int) -> Batch:
        """Returns the batch of a step."""
        rng = np.random.default_rng((self._settings.seed, step))
        dice = torch.Generator().manual_seed(int(rng.integers(2**62)))
        pixel_values, seen = self._pictures(step, rng, dice)
        input_features, heard = self._sounds(step, rng, dice)
        texts, read = self._texts([*seen, *heard], rng)
        ids, mask = tokenize(self._tokenizer, texts)
        return Batch(
            pixel_values,
            meanings.tensor(seen),
            input_features,
            meanings.tensor(heard),
            ids,
            mask,
            meanings.tensor(read),
        )

    def photographs(self, count: int) -> Tensor:
        """Returns about `count` photographs of all classes as the vision tower gets them, unchanged."""
        found = self._prepared.images["photographs"].pixels  # they lie class by class
        return augment.normalize(augment.pixels(found[:: max(1, len(found) // count)]))

    def _pictures(self, step: int, rng: np.random.Generator, dice: torch.Generator) -> tuple[Tensor, list[Meaning]]:
        s, images = self._settings, self._prepared.images
        typed = s.digit_batch * 2 // 5
        drawn = [
            (images["photographs"], s.photograph_batch, augment.photographs),
            (images["handwritten"], s.digit_batch - typed, augment.digits),
            (images["typed"], typed, augment.digits),
            (images["scenes"], s.scene_batch, augment.scenes),
            (images["nothing"], s.nothing_batch, augment.scenes),
        ]
        pieces, said = [], []
        for number, (source, count, change) in enumerate(drawn):
            rows = _deal(len(source.meanings), count, step, s.seed + number)
            pieces.append(change(augment.pixels(source.pixels[rows]), dice))
            said += [source.meanings[row] for row in rows]
        return augment.normalize(torch.cat(pieces)), said

    def _sounds(self, step: int, rng: np.random.Generator, dice: torch.Generator) -> tuple[Tensor, list[Meaning]]:
        s, sounds = self._settings, self._prepared.sounds
        phrases = s.speech_batch * 3 // 5
        rows = [
            (sounds["spoken"], _deal(len(sounds["spoken"].meanings), s.spoken_batch, step, s.seed + 10)),
            (sounds["animals"], rng.choice(len(self._animal_odds), s.animal_batch, p=self._animal_odds)),
            (sounds["phrases"], _deal(len(sounds["phrases"].meanings), phrases, step, s.seed + 11)),
            (sounds["words"], _deal(len(sounds["words"].meanings), s.speech_batch - phrases, step, s.seed + 12)),
            (sounds["played"], _deal(len(sounds["played"].meanings), s.nothing_batch // 3, step, s.seed + 13)),
            (sounds["unnamed"], _deal(len(sounds["unnamed"].meanings), s.nothing_batch // 3, step, s.seed + 14)),
        ]
        clips = [source.features[row] for source, chosen in rows for row in chosen]
        clips = [augment.stretch(clip, rng) if rng.random() < 0.5 else clip for clip in clips]
        said = [source.meanings[row] for source, chosen in rows for row in chosen]
        frames = s.long_frames if rng.random() < s.long_share else s.frames
        return augment.sounds(augment.collate(clips, frames, rng), dice), said

    def _texts(self, shown: Sequence[Meaning], rng: np.random.Generator) -> tuple[list[str], list[Meaning]]:
        """Returns names of every label, captions of every scene shown, some that say less, and some that are wrong."""
        scenes = sorted({Scene(*meaning[1:]) for meaning in shown if meaning[0] == meanings.SCENE}, key=str)
        missed = [_near_miss(scene, rng) for scene in _some(scenes, _NEAR_MISSES, rng)]
        full = [*scenes, *(scene for scene in missed if scene not in held_out_scenes())]
        said = [
            (name_concept(label, rng), meanings.of_label(label))
            for label in range(len(LABELS))
            for _ in range(_NAMES_PER_LABEL)
        ]
        said += [(describe(scene, rng), meanings.of_scene(scene)) for scene in full]
        for scene in _some(scenes, _PARTIALS, rng):
            some, text = partial(scene, rng)
            said.append((text, meanings.of_scene(some)))
        english, chinese = words(is_held_out=False)
        others = range(self._settings.nothing_batch)
        said += [(name_nothing(english, chinese, rng), meanings.of_nothing()) for _ in others]
        texts = [among_words(text, rng) if rng.random() < _AMONG_WORDS else text for text, _ in said]
        return texts, [meaning for _, meaning in said]


def _near_miss(scene: Scene, rng: np.random.Generator) -> Scene:
    """Returns the scene with one attribute changed."""
    name, size = [("count", len(COUNTS)), ("size", len(SIZES)), ("colour", len(COLOURS)), ("shape", len(SHAPES))][
        int(rng.integers(4))
    ]
    other = (getattr(scene, name) + 1 + int(rng.integers(size - 1))) % size
    return replace(scene, **{name: other})


def _some(scenes: Sequence[Scene], count: int, rng: np.random.Generator) -> list[Scene]:
    return [scenes[int(i)] for i in rng.integers(len(scenes), size=count)] if scenes else []


def _balanced(said: Sequence[Meaning]) -> NDArray[np.float64]:
    """Returns odds by which every label comes up equally often."""
    labels = np.array([meaning[0] for meaning in said])
    odds = 1 / np.bincount(labels)[labels]
    return np.asarray(odds / odds.sum())


def _deal(size: int, count: int, step: int, seed: int) -> NDArray[np.int64]:
    """Returns the `count` rows of a step: every row comes once before any comes again."""
    places = np.arange(step * count, (step + 1) * count)
    return np.array([_order(size, seed, int(place) // size)[int(place) % size] for place in places])


@lru_cache(maxsize=64)
def _order(size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(size)
