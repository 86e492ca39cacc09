"""Holds a quantized graph to what its own weights say, on this machine.

The 8-bit kernels of a CPU, a GPU or a provider may saturate or round as the machine that made the package did not. So a
package keeps a few inputs of its graph, with the outputs that the same weights give in full precision.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.inference.manifest import package_error
from shared.inference.package import Package

# The file in a package: per row the arrays `<row>.in.<input>`, the batch axis first, and `<row>.out`.
FILE = "reference.npz"

# Rounding alone leaves 0.9999. Kernels that saturate gave 0.97 on a small BERT, and still less on larger ones.
LEAST_COSINE, GOOD_COSINE = 0.99, 0.999

Feeds = Mapping[str, NDArray[Any]]  # Any: inputs of whatever type
Run = Callable[[Feeds], NDArray[np.float32]]

_log = logging.getLogger("sensorium.models")


def packed(rows: Sequence[tuple[Feeds, NDArray[np.float32]]]) -> bytes:
    """Returns the bytes of the file, of inputs and the outputs that are right for them."""
    arrays = {f"{at}.out": output for at, (_, output) in enumerate(rows)}
    arrays |= {f"{at}.in.{name}": array for at, (feeds, _) in enumerate(rows) for name, array in feeds.items()}
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub takes them for its options
    return stream.getvalue()


def held(package: Package, run: Run) -> float | None:
    """Returns the least cosine of what `run` gives to what the package keeps; None where it keeps nothing.

    Raises:
        FailedPrecondition: PACKAGE_INVALID; the cosine is under LEAST_COSINE, or the file is none of ours.
    """
    manifest = package.manifest
    if FILE not in manifest.files:
        if manifest.precision == "int8":
            _log.warning("an int8 model keeps no reference: add it again", extra={"f": {"model": manifest.id}})
        return None
    label = f"{manifest.name}/{manifest.version}"
    try:
        cosine = min(_cosine(run(feeds), output) for feeds, output in _read(package))
    except (KeyError, ValueError, OSError) as fault:
        raise package_error(label, FILE, f"cannot be read: {str(fault)[:100]}") from None
    if not cosine >= LEAST_COSINE:  # NaN is under it too
        raise package_error(
            label,
            manifest.graph,
            f"is not computed rightly here: the cosine to what its int8 weights say is {cosine:.4f}, under "
            f"{LEAST_COSINE}. The 8-bit kernels of {package.provider} on this machine are at fault: serve fp32 here",
        )
    if cosine < GOOD_COSINE:
        facts = {"model": manifest.id, "quantized_cosine": round(cosine, 6), "expected": GOOD_COSINE}
        _log.warning("an int8 model is computed inexactly on this machine", extra={"f": facts})
    return cosine


def _read(package: Package) -> Sequence[tuple[Feeds, NDArray[np.float32]]]:
    with np.load(package.path(FILE), allow_pickle=False) as archive:
        arrays = dict(archive)
    count = sum(name.endswith(".out") for name in arrays)
    if not count:
        raise ValueError("it has no rows")
    heads = [f"{at}.in." for at in range(count)]
    return [
        ({name.removeprefix(head): each for name, each in arrays.items() if name.startswith(head)}, arrays[f"{at}.out"])
        for at, head in enumerate(heads)
    ]


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    if one.shape != other.shape:
        raise ValueError(f"the graph gives {one.shape}, the file has {other.shape}")
    left, right = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(left @ right / max(float(np.linalg.norm(left) * np.linalg.norm(right)), 1e-12))
