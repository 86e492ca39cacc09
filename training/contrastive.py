"""Trains the three towers together: all pairs of modalities at once, in one space, with a learned temperature."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.augment import cosine_ramp
from training.meanings import FIELD_SIZES, targets
from training.sampling import Batch, Sampler
from training.settings import DIM, Settings
from training.towers import AudioTower, TextTower, VisionTower

_HIGHEST_SCALE = 4.0  # exp: 55; above, single items dominate the loss
_LABEL_SMOOTHING = 0.05
_PAIR_WEIGHTS = {"image-text": 1.0, "sound-text": 1.0, "image-sound": 0.4}
_FIELDS_WEIGHT = 0.7  # a guess that worked
_WHITENED = 5_000  # photographs that the first layer is made from

Advance = Callable[[int, str], None]


class Towers(nn.Module):
    """The three towers, the temperature they share, and readouts of label, count, size, colour and shape.

    The readouts are one linear map for all modalities, used in training alone: they make the space fall apart into
    attributes, so that combinations never seen find their place.
    """

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.vision = VisionTower()
        self.audio = AudioTower()
        self.text = TextTower(vocabulary_size)
        self.log_scale = nn.Parameter(torch.tensor(2.7))
        self.readout = nn.Linear(DIM, sum(FIELD_SIZES))

    def forward(self, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
        """Returns the loss of a batch, and its parts by name."""
        with torch.autocast("cpu", torch.bfloat16):
            image = self.vision(batch.pixel_values.contiguous(memory_format=torch.channels_last))
            sound = self.audio(batch.input_features)
            text = self.text(batch.input_ids, batch.attention_mask)
        image, sound, text = (F.normalize(x.float(), dim=1) for x in (image, sound, text))
        scale = self.log_scale.clamp(max=_HIGHEST_SCALE).exp()
        seen, heard, read = batch.image_meanings, batch.sound_meanings, batch.text_meanings
        parts = {
            "image-text": pair_loss((image, seen), (text, read), scale),
            "sound-text": pair_loss((sound, heard), (text, read), scale),
            "image-sound": pair_loss((image, seen), (sound, heard), scale),
        }
        fields = torch.stack([self._fields_loss(x, m) for x, m in ((image, seen), (sound, heard), (text, read))]).sum()
        loss = sum((_PAIR_WEIGHTS[name] * part for name, part in parts.items()), _FIELDS_WEIGHT * fields)
        shown = {name: part.item() for name, part in parts.items()}
        return loss, shown | {"fields": fields.item(), "scale": scale.item()}

    def _fields_loss(self, x: Tensor, said: Tensor) -> Tensor:
        logits = self.readout(x * DIM**0.5).split(FIELD_SIZES, 1)
        losses = [
            F.cross_entropy(part, said[:, i], ignore_index=-1, label_smoothing=_LABEL_SMOOTHING)
            for i, part in enumerate(logits)
            if (said[:, i] >= 0).any()
        ]
        return torch.stack(losses).sum()


def pair_loss(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor], scale: Tensor) -> Tensor:
    """Returns the supervised contrastive loss (Khosla et al. 2020, L_out) of two modalities, both ways.

    left, right: unit rows (n, d) and their meanings (n, 5). A row that should find something and has no match has no
    say; `meanings.targets` says what each should find.
    """
    (one, said), (other, told) = left, right
    logits = scale * one @ other.T
    return 0.5 * (_one_way(logits, targets(said, told)) + _one_way(logits.T, targets(told, said)))


def _one_way(logits: Tensor, wanted: Tensor) -> Tensor:
    return -(logits.log_softmax(1) * wanted).sum() / wanted.sum().clamp(min=1)  # a row that has a say sums to 1


def train_towers(sampler: Sampler, vocabulary_size: int, settings: Settings, run: Path, advance: Advance) -> Towers:
    """Returns trained towers in evaluation mode; goes on from the checkpoint in `run` where there is one."""
    torch.manual_seed(settings.seed)
    towers = Towers(vocabulary_size)
    towers.vision.whiten(sampler.photographs(_WHITENED))
    towers.vision.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    optimizer = torch.optim.AdamW(_groups(towers, settings), lr=settings.learning_rate, betas=(0.9, 0.98))
    start = _resume(run / "towers.pt", towers, optimizer)
    advance(start, "resumed" if start else "")
    began = time.monotonic()
    for step in range(start, settings.steps):
        torch.manual_seed(settings.seed * 1_000_003 + step)  # of dropout: a resumed run draws alike
        shown = _step(towers, optimizer, sampler.batch(step), step, settings)
        advance(1, f"image-text {shown['image-text']:.2f}  sound-text {shown['sound-text']:.2f}")
        if step % 20 == 0:
            _log(run / "towers.jsonl", {"step": step, "s": round(time.monotonic() - began, 1), **shown})
        if (step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps:
            _save(run / "towers.pt", towers, optimizer, step + 1)
    return towers.eval()


def _step(
    towers: Towers, optimizer: torch.optim.Optimizer, batch: Batch, step: int, settings: Settings
) -> Mapping[str, float]:
    towers.train()
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * cosine_ramp((step + 1) / settings.steps, settings.warmup)
    loss, shown = towers(batch)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(towers.parameters(), 2.0)
    optimizer.step()
    return dict(shown)


def _groups(towers: Towers, settings: Settings) -> list[dict[str, object]]:
    """Returns parameter groups: matrices and kernels decay, biases, norms and the temperature do not."""
    heavy = [p for p in towers.parameters() if p.ndim > 1]
    light = [p for p in towers.parameters() if p.ndim <= 1]
    return [{"params": heavy, "weight_decay": settings.weight_decay}, {"params": light, "weight_decay": 0.0}]


def _resume(file: Path, towers: Towers, optimizer: torch.optim.Optimizer) -> int:
    """Loads a checkpoint; returns the number of steps that it has behind it."""
    if not file.is_file():
        return 0
    state = torch.load(file, weights_only=True)
    towers.load_state_dict(state["towers"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save(file: Path, towers: Towers, optimizer: torch.optim.Optimizer, step: int) -> None:
    partial = file.with_suffix(".part")
    torch.save({"towers": towers.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)
    partial.rename(file)


def _log(file: Path, row: Mapping[str, float]) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({key: round(value, 4) for key, value in row.items()}) + "\n")
