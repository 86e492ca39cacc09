"""The models that work on vectors of the space: fusion of parts, and the head that names concepts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.settings import DIM
from training.towers import MASKED, AttentionLayer

PADDING, TEXT, IMAGE, AUDIO = range(4)  # the `modality` input of the fusion graph


class Fusion(nn.Module):
    """Attention over parts: the parts' weighted mean, plus a correction that vanishes where one part has all weight.

    So one part alone comes out as itself, and parts of weight 0 change nothing.
    """

    def __init__(self, width: int = DIM) -> None:
        super().__init__()
        self.modalities = nn.Embedding(4, width)
        self.layers = nn.ModuleList(AttentionLayer(width, expansion=2) for _ in range(2))
        self.score = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, 1)
        )
        self.correction = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        nn.init.normal_(self.modalities.weight, std=0.02)

    def forward(self, parts: Tensor, modality: Tensor, weights: Tensor) -> Tensor:
        """Returns (b, DIM), not normalised: parts (b, n, DIM) unit rows, modality (b, n) int64, weights (b, n)."""
        bias = torch.where(weights > 0, weights.clamp(min=1e-6).log(), torch.full_like(weights, MASKED))
        x = parts * DIM**0.5 + self.modalities(modality)
        for layer in self.layers:
            x = layer(x, bias[:, None, None, :])
        share = (self.score(x).squeeze(2) + bias).softmax(1).unsqueeze(2)  # (b, n, 1)
        mean = (share * parts).sum(1)
        spread = 1 - (share * share).sum(1)  # (b, 1): 0 where one part has all weight
        correction = (share * self.correction(x)).sum(1) * DIM**-0.5
        fused: Tensor = mean + spread * correction
        return fused


class ConceptHead(nn.Module):
    """Logits over the label list for any unit vector of the space, fused or not."""

    def __init__(self, label_count: int, width: int = 192) -> None:
        super().__init__()
        self.inward = nn.Linear(DIM, width)
        self.outward = nn.Linear(width, label_count)

    def forward(self, embedding: Tensor) -> Tensor:
        """Returns (b, labels) logits of (b, DIM) unit rows."""
        logits: Tensor = self.outward(F.gelu(self.inward(embedding * DIM**0.5)))
        return logits
