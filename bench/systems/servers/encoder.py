"""What a user of any serving framework writes for an encoder: tokenizer or Pillow, onnxruntime, pooling."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Encode = Callable[[list[bytes]], Rows]


def open_encoder(folder: str, kind: str) -> Encode:
    """Returns what turns UTF-8 texts, or JPEG files where `kind` is image, into rows (n, dim) of length 1."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # one thread a run, as our service has it
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    graph = str(Path(folder) / "onnx" / "model.onnx")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return _pictures(session) if kind == "image" else _texts(session, folder)


def _texts(session: onnxruntime.InferenceSession, folder: str) -> Encode:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.enable_padding()

    def encode(texts: list[bytes]) -> Rows:
        encoded = tokenizer.encode_batch_fast([text.decode() for text in texts])
        ids = np.array([each.ids for each in encoded], np.int64)
        mask = np.array([each.attention_mask for each in encoded], np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = session.run(None, feed)[0]
        weights = mask[:, :, None].astype(np.float32)
        return _unit((hidden * weights).sum(1) / weights.sum(1))

    return encode


def _pictures(session: onnxruntime.InferenceSession) -> Encode:
    from PIL import Image

    def row(jpeg: bytes) -> Rows:
        small = Image.open(io.BytesIO(jpeg)).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        scaled: Rows = np.asarray(small, np.float32) / np.float32(127.5) - np.float32(1)
        return scaled.transpose(2, 0, 1)

    def encode(files: list[bytes]) -> Rows:
        return _unit(session.run(None, {"pixel_values": np.stack([row(each) for each in files])})[0][:, 0])

    return encode


def _unit(rows: Rows) -> Rows:
    scaled: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled
