"""Makes the exports and golden numbers of this folder, by the reference libraries: developers run it, tests do not."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch


def _define_detection_operators() -> None:
    """Lets torchvision load where its binary does not fit torch: resizing needs none of its own operators.

    Without its binary, torchvision fails to describe two operators that nobody defined. Here they have a name alone.
    """
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    try:
        torch.ops.load_library(str(Path(spec.origin).parent / "_C.so"))
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_define_detection_operators()  # before anything imports transformers, which imports torchvision
torch.set_num_threads(1)
