"""Measures the bundle on what was held out: classification by words, and retrieval across modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from training import augment, meanings
from training.captions import SCENES, Scene, caption, caption_zh, held_out_scenes
from training.concepts import ANIMAL_LABELS, CONCEPTS, DIGITS, LABELS, PHOTOGRAPH_LABELS
from training.contrastive import Towers
from training.package import TEMPLATES
from training.prepare import Images, Prepared, Sounds
from training.tokenizer import tokenize

_CHUNK = 250


@dataclass(frozen=True, slots=True)
class Vectors:
    """Unit vectors (n, DIM) of held-out items, and their meanings (n, 5)."""

    rows: Tensor
    meanings: Tensor

    @property
    def labels(self) -> Tensor:
        """The first field of each meaning."""
        return self.meanings[:, 0]


class Encoder:
    """Encodes what is held out with trained towers, as the services would."""

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


def held_out_vectors(encoder: Encoder, check: Prepared) -> dict[str, Vectors]:
    """Returns vectors of everything held out, by source."""
    vectors = {name: encoder.images(images) for name, images in check.images.items()}
    return vectors | {name: encoder.sounds(sounds) for name, sounds in check.sounds.items()}


def label_tasks() -> Mapping[str, tuple[str, Sequence[str]]]:
    """Returns the tasks that name a thing: the source of items, and the labels to choose from, by task."""
    digits = [concept.label for concept in DIGITS]
    return {
        "handwritten digit → word": ("handwritten", digits),
        "typed digit (fonts not in training) → word": ("typed", digits),
        "spoken digit (speaker not in training) → word": ("spoken", digits),
        "photograph → class name": ("photographs", PHOTOGRAPH_LABELS),
        "animal sound → animal name": ("animals", ANIMAL_LABELS),
        "name spoken by espeak-ng (voice not in training) → name, 26-way": ("words", LABELS),
    }


def measure(encoder: Encoder, check: Prepared, vectors: Mapping[str, Vectors]) -> dict[str, float]:
    """Returns every measured number, as shares of 1, by task."""
    numbers = {}
    for task, (source, labels) in label_tasks().items():
        numbers[task] = accuracy(encoder, vectors[source], labels)
        numbers[f"{task}, Chinese names"] = accuracy(encoder, vectors[source], labels, chinese=True)
    numbers["animal sound → animal name, mean over animals"] = mean_recall(encoder, vectors["animals"], ANIMAL_LABELS)
    return numbers | _scene_numbers(encoder, vectors) | _sound_to_picture(vectors) | _robust(encoder, check)


def accuracy(encoder: Encoder, vectors: Vectors, labels: Sequence[str], *, chinese: bool = False) -> float:
    """Returns the share of items whose nearest name is their own."""
    return float(_is_right(encoder, vectors, labels, chinese=chinese).mean())


def mean_recall(encoder: Encoder, vectors: Vectors, labels: Sequence[str]) -> float:
    """Returns the accuracy of each label, averaged: rare labels count as much as common ones."""
    right = _is_right(encoder, vectors, labels)
    return float(torch.stack([right[vectors.labels == label].mean() for label in set(vectors.labels.tolist())]).mean())


def _is_right(encoder: Encoder, vectors: Vectors, labels: Sequence[str], *, chinese: bool = False) -> Tensor:
    """Returns (n,) float32: 1 where the nearest name is the item's own."""
    places = [LABELS.index(label) for label in labels]
    names = [CONCEPTS[place].chinese[0] for place in places] if chinese else list(labels)
    found = torch.tensor(places)[(vectors.rows @ encoder.prototypes(names).T).argmax(1)]
    return (found == vectors.labels).float()


def confusion(encoder: Encoder, vectors: Vectors, labels: Sequence[str]) -> Tensor:
    """Returns (labels, labels) int64: how many items of the label of each row were taken for that of each column."""
    truth = (vectors.labels[:, None] == torch.tensor([LABELS.index(label) for label in labels])).long().argmax(1)
    found = (vectors.rows @ encoder.prototypes(labels).T).argmax(1)
    return torch.bincount(truth * len(labels) + found, minlength=len(labels) ** 2).reshape(len(labels), -1)


def recall(queries: Vectors, candidates: Tensor, *, hidden: bool, among: int = 1) -> float:
    """Returns the share of scenes with their own among the nearest of all 240, of seen or unseen combinations."""
    order = {scene: i for i, scene in enumerate(SCENES)}
    truth = torch.tensor([order[Scene(*row[1:])] for row in queries.meanings.tolist()])
    unseen = torch.tensor([scene in held_out_scenes() for scene in SCENES])[truth]
    chosen = unseen if hidden else ~unseen
    nearest = (queries.rows @ candidates.T).topk(among, dim=1).indices
    return float((nearest == truth[:, None]).any(1)[chosen].float().mean())


def scene_recalls(encoder: Encoder, vectors: Mapping[str, Vectors]) -> dict[str, tuple[float, ...]]:
    """Returns recall at 1, 5 and 10 among all 240 scenes, of unseen combinations, by task."""
    captions = encoder.texts([caption(scene) for scene in SCENES])
    pictures, scenes, phrases = _one_picture_each(vectors["scenes"]), vectors["scenes"], vectors["phrases"]
    read = Vectors(captions, meanings.tensor([meanings.of_scene(scene) for scene in SCENES]))
    tasks = {
        "scene → caption": (scenes, captions),
        "caption → scene": (read, pictures),
        "spoken caption → caption": (phrases, captions),
        "spoken caption → scene": (phrases, pictures),
    }
    return {task: tuple(recall(*given, hidden=True, among=k) for k in (1, 5, 10)) for task, given in tasks.items()}


def _scene_numbers(encoder: Encoder, vectors: Mapping[str, Vectors]) -> dict[str, float]:
    english, chinese = encoder.texts([caption(s) for s in SCENES]), encoder.texts([caption_zh(s) for s in SCENES])
    pictures, scenes, phrases = _one_picture_each(vectors["scenes"]), vectors["scenes"], vectors["phrases"]
    return {
        "scene (unseen combination) → caption, 240-way R@1": recall(scenes, english, hidden=True),
        "scene (seen combination) → caption, 240-way R@1": recall(scenes, english, hidden=False),
        "scene (unseen combination) → Chinese caption, 240-way R@1": recall(scenes, chinese, hidden=True),
        "spoken caption (unseen voice and combination) → caption, R@1": recall(phrases, english, hidden=True),
        "spoken caption (unseen voice and combination) → scene, R@1": recall(phrases, pictures, hidden=True),
    }


def _one_picture_each(scenes: Vectors) -> Tensor:
    """Returns (240, DIM) unit rows: the mean of the drawings of each scene."""
    return F.normalize(scenes.rows.reshape(len(SCENES), -1, scenes.rows.shape[1]).mean(1), dim=1)


def _sound_to_picture(vectors: Mapping[str, Vectors]) -> dict[str, float]:
    """Returns the precision at 5 of photographs found by the calls of dog, cat, bird and frog."""
    shared = torch.tensor([LABELS.index(name) for name in ("dog", "cat", "bird", "frog")])
    queries = torch.isin(vectors["animals"].labels, shared)
    nearest = (vectors["animals"].rows[queries] @ vectors["photographs"].rows.T).topk(5, dim=1).indices
    right = vectors["photographs"].labels[nearest] == vectors["animals"].labels[queries][:, None]
    return {"animal sound (dog, cat, bird, frog) → photographs, P@5": float(right.float().mean())}


def _robust(encoder: Encoder, check: Prepared) -> dict[str, float]:
    """Returns accuracies on changed items."""
    digits = [concept.label for concept in DIGITS]
    handwritten, spoken = check.images["handwritten"], check.sounds["spoken"]
    shifted = encoder.images(handwritten, lambda x: torch.roll(x, (3, -3), (2, 3)))
    rng = torch.Generator().manual_seed(0)
    noisy = encoder.sounds(spoken, lambda x: augment.noisy(x, 10.0, rng))
    return {
        "inverted handwritten digit → word": accuracy(encoder, encoder.images(handwritten, lambda x: 1 - x), digits),
        "handwritten digit off centre by 3 of 32 pixels → word": accuracy(encoder, shifted, digits),
        "spoken digit with white noise at 10 dB, added to the features → word": accuracy(encoder, noisy, digits),
    }
