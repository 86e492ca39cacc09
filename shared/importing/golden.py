"""Golden files: inputs, and the vectors that a reference gives for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.importing.hub_folder import import_error

TOLERANCE = 1e-5  # absolute, of rows of length 1: what torch and onnxruntime differ by is below it
_KINDS = ("text", "image", "audio")


@dataclass(frozen=True, slots=True)
class Golden:
    """Inputs of one modality, each a text or the path of a file, and their vectors (n, dim), scaled to length 1.

    prompt_name: of the package's prompt that goes before texts; empty for its default one, or none.
    """

    modality: str
    inputs: Sequence[str | Path]
    vectors: NDArray[np.float32]
    tolerance: float
    prompt_name: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far vectors are from golden ones: of each item the largest difference of a component, and 1 - cosine."""

    differences: NDArray[np.float64]
    distances: NDArray[np.float64]
    tolerance: float

    @property
    def is_good(self) -> bool:
        """Whether every component is within the tolerance."""
        return bool((self.differences <= self.tolerance).all())


def read_golden(file: Path) -> Golden:
    """Returns a golden file: `docs/adding-models.md` has its format.

    Raises:
        FailedPrecondition: a field is missing or wrong; the message names it.
    """
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise import_error(str(file), f"cannot be read as JSON: {fault}") from None
    items = raw.get("items") if isinstance(raw, dict) else None
    if not isinstance(items, list) or not items:
        raise import_error(str(file), "field `items`: expected a list of objects with one of text, image, audio")
    kinds = {_kind(file, place, item) for place, item in enumerate(items)}
    if len(kinds) > 1:
        raise import_error(str(file), f"field `items`: has {' and '.join(sorted(kinds))}; a file is of one modality")
    modality = kinds.pop()
    inputs = [item["text"] if modality == "text" else file.parent / item[modality] for item in items]
    vectors = _vectors(file, raw, len(items))
    tolerance, prompt_name = raw.get("tolerance", TOLERANCE), raw.get("prompt_name", "")
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not tolerance > 0:
        raise import_error(str(file), f"field `tolerance`: expected a number greater than 0, got {tolerance!r:.80}")
    if not isinstance(prompt_name, str):
        raise import_error(str(file), f"field `prompt_name`: expected a text, got {prompt_name!r:.80}")
    return Golden(modality, inputs, vectors, float(tolerance), prompt_name)


def compare(golden: Golden, rows: NDArray[np.float32]) -> Verdict:
    """Returns how far `rows` (n, dim) of length 1 are from the golden ones.

    Raises:
        FailedPrecondition: the widths differ.
    """
    if rows.shape != golden.vectors.shape:
        raise import_error("vectors", f"have {golden.vectors.shape[1]} numbers; the model gives {rows.shape[1]}")
    exact, other = rows.astype(np.float64), golden.vectors.astype(np.float64)
    return Verdict(np.abs(exact - other).max(1), 1 - (exact * other).sum(1), golden.tolerance)


def _kind(file: Path, place: int, item: Any) -> str:
    """Returns the modality of an item (Any: JSON)."""
    found = [kind for kind in _KINDS if isinstance(item, dict) and isinstance(item.get(kind), str)]
    if len(found) != 1:
        raise import_error(str(file), f"field `items[{place}]`: expected one of text, image, audio, got {item!r:.80}")
    path = PurePosixPath(item[found[0]])
    if found[0] != "text" and not (file.parent / path).is_file():
        raise import_error(str(file), f"field `items[{place}].{found[0]}`: there is no file {file.parent / path}")
    return found[0]


def _vectors(file: Path, raw: dict[str, Any], count: int) -> NDArray[np.float32]:
    """Returns (count, dim) rows of length 1: of the .npy file that `vectors` names, or the lists that it is."""
    stated = raw.get("vectors")
    try:
        source = np.load(file.parent / stated, allow_pickle=False) if isinstance(stated, str) else np.array(stated)
        rows = np.asarray(source, np.float64)
    except (OSError, ValueError, TypeError) as fault:
        raise import_error(str(file), f"field `vectors`: expected rows, or the name of a .npy file: {fault}") from None
    if rows.ndim != 2 or len(rows) != count:
        raise import_error(str(file), f"field `vectors`: expected {count} rows, got an array of shape {rows.shape}")
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
