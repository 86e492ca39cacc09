"""Measures how long each exported tower takes for one item on one thread."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from training.contrastive import Towers
from training.export import Graph, audio_graph, export, text_graph, vision_graph

_ROUNDS = 60


def measure_latency(towers: Towers) -> dict[str, float]:
    """Returns the median milliseconds an item, at batch 1 on one thread of onnxruntime, by what is encoded."""
    ids = torch.randint(3, 200, (1, 16), generator=torch.Generator().manual_seed(0))
    text = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    cases = [
        ("text of 16 tokens", text_graph(towers.text), text),
        ("picture", vision_graph(towers.vision), {"pixel_values": torch.zeros(1, 3, 32, 32)}),
        ("sound of 1.3 s", audio_graph(towers.audio), {"input_features": torch.zeros(1, 64, 128)}),
        ("sound of 5.1 s", audio_graph(towers.audio), {"input_features": torch.zeros(1, 64, 512)}),
    ]
    return {f"ms an item at batch 1, one thread: {name}": _median_ms(graph, item) for name, graph, item in cases}


def _median_ms(graph: Graph, item: dict[str, Tensor]) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export(graph, file)
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    arrays = {name: tensor.numpy() for name, tensor in item.items()}
    session.run(None, arrays)  # the first run allocates
    took_ms = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        session.run(None, arrays)
        took_ms.append(1000 * (time.perf_counter() - began))
    return statistics.median(took_ms)
