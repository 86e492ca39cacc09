"""The three encoders: a convolutional tower for pictures, one for sounds, and an attention tower for text."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.settings import DIM, MAX_TOKENS

MASKED = -1e9  # after softmax exactly 0 in float32, so padding changes nothing
# How much the mirror image counts. Photographs: 88.6 % right without, 89.9 % with it; handwritten digits 99.6 and
# 99.5 %, but 94.7 % where it counts as much as the picture itself.
_MIRROR_SHARE = 0.5
_LEAST_VARIANCE = 5e-4  # of a direction of patches: keeps noise small (Jordan 2024, section 3.2)


class VisionTower(nn.Module):
    """Convolutions for small photographs: (b, 3, 32, 32) float32 → (b, DIM).

    The shape is that of Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv:2404.00498): a frozen first
    layer that whitens patches, pooling right after a block's first convolution, which makes the block cheap.
    """

    def __init__(self) -> None:
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2, bias=False).requires_grad_(requires_grad=False)  # see `whiten`
        self.features = nn.Sequential(
            nn.GELU(),  # (b, 24, 31, 31)
            block(24, 64),  # (b, 64, 15, 15)
            block(64, 192),  # (b, 192, 7, 7)
            block(192, 256),  # (b, 256, 3, 3)
        )
        self.projection = nn.Linear(2 * 256, DIM)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Returns (b, DIM) embeddings, not normalised; once trained, those of a picture and its mirror image joined."""
        if self.training:
            return self._embeds(pixel_values)
        count = pixel_values.shape[0]
        both = F.normalize(self._embeds(torch.cat([pixel_values, pixel_values.flip(3)])), dim=1)
        joined: Tensor = both[:count] + _MIRROR_SHARE * both[count:]
        return joined

    def _embeds(self, pixel_values: Tensor) -> Tensor:
        x = self.features(self.whitening(pixel_values))
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)  # the mean counts, the maximum finds
        embeds: Tensor = self.projection(pooled)
        return embeds

    def whiten(self, pixel_values: Tensor) -> None:
        """Sets the first layer to the principal directions of 2 x 2 patches, of unit variance, and their negatives.

        pixel_values: (n, 3, h, w) pictures as the tower gets them; a few thousand are enough.
        """
        patches = F.unfold(pixel_values, 2).transpose(1, 2).reshape(-1, 12)
        variances, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (directions / (variances + _LEAST_VARIANCE).sqrt()).T.reshape(12, 3, 2, 2)
        self.whitening.weight.data = torch.cat([filters, -filters])


class AudioTower(nn.Module):
    """Convolutions over time and frequency, then over time: (b, mel, frames) float32 → (b, DIM).

    Pooling is a maximum and an attention over time, so that silence around a sound weighs nothing.
    """

    def __init__(self, mel_count: int = 64, width: int = 128) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv(1, 24, stride=2),  # (b, 24, mel / 2, t / 2)
            conv(24, 32, stride=2),  # (b, 32, mel / 4, t / 4)
            conv(32, 32, stride=(2, 1)),  # (b, 32, mel / 8, t / 4)
        )
        self.inward = conv1d(32 * mel_count // 8, width, 1)
        self.blocks = nn.Sequential(
            *(Residual(nn.Sequential(conv1d(width, width, 3), conv1d(width, width, 3))) for _ in range(4))
        )
        self.score = nn.Conv1d(width, 4, 1)
        self.dropout = nn.Dropout(0.2)  # few speakers are heard in training
        self.projection = nn.Linear(5 * width, DIM)

    def forward(self, input_features: Tensor) -> Tensor:
        """Returns (b, DIM) embeddings, not normalised."""
        loudest = input_features.amax((1, 2), keepdim=True)
        x = (input_features - loudest).clamp(min=-2.0) + 1.0  # loudness is no feature; the range is 2
        x = self.stem(x.unsqueeze(1))
        x = self.blocks(self.inward(x.flatten(1, 2)))  # (b, width, t)
        weights = self.score(x).float().softmax(2).to(x.dtype)  # (b, 4, t)
        attended = (weights @ x.transpose(1, 2)).flatten(1)
        embeds: Tensor = self.projection(self.dropout(torch.cat([attended, x.amax(2)], 1)))
        return embeds


class TextTower(nn.Module):
    """Two layers of attention over tokens: ids and mask, each (b, s) int64 → (b, DIM). Exact under padding."""

    def __init__(self, vocabulary_size: int, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Parameter(torch.randn(MAX_TOKENS, width) * 0.02)
        self.layers = nn.ModuleList(AttentionLayer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(2 * width, DIM)
        nn.init.normal_(self.tokens.weight, std=0.05)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns (b, DIM) embeddings, not normalised."""
        x = self.tokens(input_ids) + self.positions[: input_ids.shape[1]]
        bias = ((1 - attention_mask) * MASKED).to(x.dtype)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        x = self.norm(x)
        mask = attention_mask.to(x.dtype).unsqueeze(2)
        mean = (x * mask).sum(1) / mask.sum(1).clamp(min=1)
        embeds: Tensor = self.projection(torch.cat([x[:, 0], mean], 1))
        return embeds


class AttentionLayer(nn.Module):
    """One pre-norm transformer layer; `bias` is added to the attention logits."""

    def __init__(self, width: int, heads: int = 4, expansion: int = 3) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width)
        )

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Returns (b, s, width); `bias` broadcasts to (b, heads, s, s)."""
        b, s, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, s, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (b, heads, s, width / heads)
        logits = q @ k.transpose(2, 3) * (width // self.heads) ** -0.5
        attended = (logits.float() + bias).softmax(3).to(v.dtype) @ v
        x = x + self.outward(attended.transpose(1, 2).reshape(b, s, width))
        result: Tensor = x + self.mlp(x)
        return result


class Residual(nn.Module):
    """x + inner(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Returns x + inner(x), of the shape of x."""
        result: Tensor = x + self.inner(x)
        return result


def block(inward: int, outward: int) -> nn.Module:
    """Returns two 3x3 convolutions with batch norm and GELU: the first halves the side, the second is a residual."""
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, 1, 1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outward),
        nn.GELU(),
        Residual(nn.Sequential(nn.Conv2d(outward, outward, 3, 1, 1, bias=False), nn.BatchNorm2d(outward), nn.GELU())),
    )


def conv(inward: int, outward: int, stride: int | tuple[int, int] = 1) -> nn.Module:
    """Returns a 3x3 convolution with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU(inplace=True)
    )


def conv1d(inward: int, outward: int, kernel: int) -> nn.Module:
    """Returns a convolution over time with batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv1d(inward, outward, kernel, 1, kernel // 2, bias=False), nn.BatchNorm1d(outward), nn.ReLU(inplace=True)
    )
