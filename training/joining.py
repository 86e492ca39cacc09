"""Trains the fusion model and the concept head on vectors of the trained towers, clean and spoilt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training import meanings
from training.augment import cosine_ramp, noisy
from training.captions import SCENES, caption, describe, held_out_scenes
from training.concepts import LABELS, name_concept
from training.contrastive import Advance
from training.encoding import Encoder, Vectors
from training.joint import AUDIO, IMAGE, PADDING, TEXT, ConceptHead, Fusion
from training.prepare import Images, Prepared, Sounds
from training.settings import Settings

_SCALE = 15.0  # of cosines in the losses; near what the towers learn
_ITEMS_PER_SOURCE = 3_000
_LABEL_SHARE = 0.7  # of what fusion learns from; scenes are many, and easy
_TEXTS_PER_LABEL = 40
_SEEN = ("photographs", "handwritten", "typed", "scenes")
_HEARD = ("spoken", "animals", "words", "phrases")
_TEXTS_PER_SCENE = 8


@dataclass(frozen=True, slots=True)
class Pool:
    """Vectors of one modality, grouped by meaning: those of meaning i are rows[start[i] : start[i] + count[i]]."""

    rows: Tensor
    start: Tensor
    count: Tensor

    def draw(self, ids: Tensor, rng: torch.Generator) -> Tensor:
        """Returns one random row for each meaning; an arbitrary one where there is none."""
        among = (torch.rand(len(ids), generator=rng) * self.count[ids]).long()
        return self.rows[(self.start[ids] + among).clamp(max=len(self.rows) - 1)]


def meaning_ids(said: Tensor) -> Tensor:
    """Returns (n,) numbers of meanings (n, 5): labels first, then scenes."""
    order = {meanings.of_scene(scene): len(LABELS) + i for i, scene in enumerate(SCENES)}
    return torch.tensor([order.get(tuple(row), row[0]) for row in said.tolist()])


def spoil_pictures(x: Tensor, most: float, rng: torch.Generator) -> Tensor:
    """Returns pictures of 0..1 with noise of a deviation of up to `most`, of one colour or of all."""
    level = most * torch.rand(x.shape[0], 1, 1, 1, generator=rng).sqrt()  # more of it loud
    noise = torch.randn(x.shape, generator=rng)
    is_grey = torch.rand(x.shape[0], 1, 1, 1, generator=rng) < 0.5
    return (x + torch.where(is_grey, noise[:, :1], noise) * level).clamp(0, 1)


def pools(encoder: Encoder, train: Prepared, settings: Settings) -> Mapping[int, Pool]:
    """Returns training vectors by modality: half of them of spoilt items."""
    dice = torch.Generator().manual_seed(settings.seed + 20)
    rng = np.random.default_rng(settings.seed + 20)
    pictures, heard = [], []
    for images in (train.images[name] for name in _SEEN):
        few = _some_images(images, rng)
        pictures += [encoder.images(few), encoder.images(few, lambda x: spoil_pictures(x, 0.7, dice))]
    for sounds in (train.sounds[name] for name in _HEARD):
        some = _some_sounds(sounds, rng)
        heard += [encoder.sounds(some), encoder.sounds(some, lambda x: _spoil_sounds(x, rng, dice))]
    return {TEXT: _pool([_texts(encoder, rng)]), IMAGE: _pool(pictures), AUDIO: _pool(heard)}


def train_joint(
    encoder: Encoder, found: Mapping[int, Pool], settings: Settings, advance: Advance
) -> tuple[Fusion, ConceptHead]:
    """Returns the trained fusion model and concept head, in evaluation mode."""
    torch.manual_seed(settings.seed + 21)
    rng = torch.Generator().manual_seed(settings.seed + 21)
    fusion, head = Fusion(), ConceptHead(len(LABELS))
    ids = _trainable_ids()
    goals = torch.cat([encoder.prototypes(LABELS), encoder.texts([caption(scene) for scene in SCENES])])[ids]

    def loss() -> Tensor:
        chosen = torch.randint(len(ids), (settings.joint_batch,), generator=rng)
        named = torch.randint(len(LABELS), chosen.shape, generator=rng)  # the labels come first
        chosen = named.where(torch.rand(chosen.shape, generator=rng) < _LABEL_SHARE, chosen)
        fused = F.normalize(fusion(*draw_parts(found, ids[chosen], rng)), dim=1)
        return F.cross_entropy(_SCALE * fused @ goals.T, chosen)

    _train(fusion, loss, settings.fusion_steps, advance, "fusion")
    _train(head, lambda: _head_loss(head, fusion, found, settings, rng), settings.head_steps, advance, "concepts")
    return fusion.eval(), head.eval()


def draw_parts(found: Mapping[int, Pool], ids: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Returns parts (b, 3, DIM), modality (b, 3) and weights (b, 3) of items, each modality there or not."""
    parts = torch.stack([found[m].draw(ids, rng) for m in (TEXT, IMAGE, AUDIO)], 1)
    exists = torch.stack([found[m].count[ids] > 0 for m in (TEXT, IMAGE, AUDIO)], 1)
    kept = exists & (torch.rand(exists.shape, generator=rng) < torch.tensor([0.25, 0.85, 0.85]))
    kept[:, 0] |= ~kept.any(1)  # text exists for every meaning
    weights = kept.float() * torch.exp(0.3 * torch.randn(kept.shape, generator=rng))
    modality = torch.tensor([TEXT, IMAGE, AUDIO]).where(kept, torch.tensor(PADDING))
    return parts * kept.unsqueeze(2), modality, weights


def _head_loss(
    head: ConceptHead, fusion: Fusion, found: Mapping[int, Pool], settings: Settings, rng: torch.Generator
) -> Tensor:
    """Returns the loss on vectors of each modality and on fused ones."""
    labels = torch.randint(len(LABELS), (settings.joint_batch,), generator=rng)
    parts, modality, weights = draw_parts(found, labels, rng)
    with torch.no_grad():
        fused = F.normalize(fusion(parts, modality, weights), dim=1)
    there = weights > 0
    rows = torch.cat([fused, parts[there]])
    truth = torch.cat([labels, labels[:, None].expand(-1, 3)[there]])
    return F.cross_entropy(head(rows), truth, label_smoothing=0.02)


def _train(module: torch.nn.Module, loss: Callable[[], Tensor], steps: int, advance: Advance, name: str) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.05)
    module.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * cosine_ramp((step + 1) / steps, 0.1)
        now = loss()
        optimizer.zero_grad()
        now.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        advance(1, f"{name} {now.item():.3f}")


def _trainable_ids() -> Tensor:
    """Returns the numbers of the meanings that training may see."""
    seen = [len(LABELS) + i for i, scene in enumerate(SCENES) if scene not in held_out_scenes()]
    return torch.tensor([*range(len(LABELS)), *seen])


def _pool(found: Sequence[Vectors]) -> Pool:
    ids = torch.cat([meaning_ids(vectors.meanings) for vectors in found])
    order = ids.argsort(stable=True)
    count = torch.bincount(ids, minlength=len(LABELS) + len(SCENES))
    return Pool(torch.cat([vectors.rows for vectors in found])[order], count.cumsum(0) - count, count)


def _some_images(images: Images, rng: np.random.Generator) -> Images:
    rows = rng.permutation(len(images.meanings))[:_ITEMS_PER_SOURCE]
    return Images(images.pixels[rows], [images.meanings[row] for row in rows])


def _some_sounds(sounds: Sounds, rng: np.random.Generator) -> Sounds:
    rows = rng.permutation(len(sounds.meanings))[:_ITEMS_PER_SOURCE]
    return Sounds([sounds.features[row] for row in rows], [sounds.meanings[row] for row in rows])


def _spoil_sounds(x: Tensor, rng: np.random.Generator, dice: torch.Generator) -> Tensor:
    return noisy(x, float(rng.uniform(-15, 20)), dice)


def _texts(encoder: Encoder, rng: np.random.Generator) -> Vectors:
    named = [
        (name_concept(label, rng), meanings.of_label(label))
        for label in range(len(LABELS))
        for _ in range(_TEXTS_PER_LABEL)
    ]
    seen = [scene for scene in SCENES if scene not in held_out_scenes()]
    named += [(describe(scene, rng), meanings.of_scene(scene)) for scene in seen for _ in range(_TEXTS_PER_SCENE)]
    return Vectors(encoder.texts([text for text, _ in named]), meanings.tensor([meaning for _, meaning in named]))
