"""From torch to ONNX: dynamic batch and length, weights inline, and a check that both compute the same."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from training.joint import ConceptHead, Fusion
from training.settings import DIM
from training.towers import AudioTower, TextTower, VisionTower

OPSET = 17
TOLERANCE = 1e-5  # of unit rows, torch against onnxruntime


@dataclass(frozen=True, slots=True)
class Graph:
    """A module with what its export needs: example inputs by name, dynamic axes, the output's name."""

    module: nn.Module
    examples: Mapping[str, Tensor]
    axes: Mapping[str, Mapping[int, str]]
    output: str


class ParityError(Exception):
    """The exported graph does not compute what the torch module computes."""


def export(graph: Graph, file: Path) -> float:
    """Writes the graph and returns the largest difference to torch, over unit rows, of a batch and of one item.

    Raises:
        ParityError: it is above TOLERANCE.
    """
    graph.module.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter is deprecated, traces shapes, and says so at length
        torch.onnx.export(
            graph.module,
            tuple(graph.examples.values()),
            str(file),
            input_names=list(graph.examples),
            output_names=[graph.output],
            dynamic_axes={**graph.axes, graph.output: {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    difference = parity(graph, file)
    if difference > TOLERANCE:
        raise ParityError(f"{file.name}: onnxruntime differs from torch by {difference:.2e}, at most {TOLERANCE:.0e}")
    return difference


def parity(graph: Graph, file: Path) -> float:
    """Returns the largest difference between torch and onnxruntime on the examples, whole and item by item."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    arrays = {name: example.numpy() for name, example in graph.examples.items()}
    with torch.inference_mode():
        expected = _unit(graph.module(*graph.examples.values()).numpy())
    whole = _unit(session.run([graph.output], arrays)[0])
    singles = [session.run([graph.output], {k: v[i : i + 1] for k, v in arrays.items()})[0] for i in range(len(whole))]
    return float(max(np.abs(whole - expected).max(), np.abs(_unit(np.concatenate(singles)) - expected).max()))


def vision_graph(tower: VisionTower) -> Graph:
    """Returns the graph of the picture tower."""
    return Graph(tower, {"pixel_values": torch.randn(3, 3, 32, 32)}, {"pixel_values": {0: "batch"}}, "image_embeds")


def audio_graph(tower: AudioTower) -> Graph:
    """Returns the graph of the sound tower."""
    features = torch.randn(3, 64, 128)
    return Graph(tower, {"input_features": features}, {"input_features": {0: "batch", 2: "frames"}}, "audio_embeds")


def text_graph(tower: TextTower) -> Graph:
    """Returns the graph of the text tower."""
    ids = torch.randint(3, 200, (3, 16))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    axes = {0: "batch", 1: "tokens"}
    return Graph(
        tower,
        {"input_ids": ids * mask, "attention_mask": mask},
        {"input_ids": axes, "attention_mask": axes},
        "text_embeds",
    )


def fusion_graph(fusion: Fusion) -> Graph:
    """Returns the graph that joins parts."""
    parts = nn.functional.normalize(torch.randn(3, 3, DIM), dim=2)
    weights = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.5, 0.0], [1.0, 0.0, 0.0]])
    modality = torch.tensor([[1, 2, 3], [2, 3, 0], [3, 0, 0]])
    axes = {0: "batch", 1: "parts"}
    return Graph(
        fusion,
        {"parts": parts, "modality": modality, "weights": weights},
        {"parts": axes, "modality": axes, "weights": axes},
        "fused",
    )


def concepts_graph(head: ConceptHead) -> Graph:
    """Returns the graph of the concept head."""
    embedding = nn.functional.normalize(torch.randn(3, DIM), dim=1)
    return Graph(head, {"embedding": embedding}, {"embedding": {0: "batch"}}, "logits")


def _unit(rows: np.ndarray) -> np.ndarray:
    result: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result
