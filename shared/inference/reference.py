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

# The file in a package: per row the arrays `<row>.in.<input>`, the batch axis first, and `<row>.out`; and `_NOISE`.
FILE = "reference.npz"

# Kernels that saturate gave 0.984 on a small BERT, where rounding alone leaves 0.9999.
_LEAST, _GOOD = 0.99, 0.999

# 1 - cosine of two ways to compute the weights in full precision. Where 8 bits are coarse, as with fixed ranges and
# outliers, the last digit of a float decides to which step a value is rounded, and right answers differ by as much.
_NOISE = "noise"
_LEAST_NOISES, _GOOD_NOISES = 4, 2

Feeds = Mapping[str, NDArray[Any]]  # Any: inputs of whatever type
Run = Callable[[Feeds], NDArray[np.float32]]

_log = logging.getLogger("sensorium.models")


def packed(rows: Sequence[tuple[Feeds, NDArray[np.float32]]], again: Sequence[NDArray[np.float32]]) -> bytes:
    """Returns the bytes of the file, of inputs and the outputs that are right for them.

    again: the outputs, computed in full precision in another order.
    """
    noise = 1 - min(_cosine(one, other) for (_, one), other in zip(rows, again, strict=True))
    arrays: dict[str, NDArray[Any]] = {_NOISE: np.array(max(noise, 0.0))}
    arrays |= {f"{at}.out": output for at, (_, output) in enumerate(rows)}
    arrays |= {f"{at}.in.{name}": array for at, (feeds, _) in enumerate(rows) for name, array in feeds.items()}
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub takes them for its options
    return stream.getvalue()


def held(package: Package, run: Run) -> float | None:
    """Returns the least cosine of what `run` gives to what the package keeps; None where it keeps nothing.

    Raises:
        FailedPrecondition: PACKAGE_INVALID; the cosine is too low, or the file is none of ours.
    """
    manifest = package.manifest
    if FILE not in manifest.files:
        return None
    label = f"{manifest.name}/{manifest.version}"
    try:
        rows, noise = _read(package)
        cosine = min(_cosine(run(feeds), output) for feeds, output in rows)
    except (KeyError, ValueError, OSError) as fault:
        raise package_error(label, FILE, f"cannot be read: {str(fault)[:100]}") from None
    least, good = min(_LEAST, 1 - _LEAST_NOISES * noise), min(_GOOD, 1 - _GOOD_NOISES * noise)
    if not cosine >= least:  # NaN is under it too
        raise package_error(
            label,
            manifest.graph,
            f"is not computed rightly here; the cosine to what its weights say is {cosine:.4f}, under {least:.4f}: "
            f"the 8-bit arithmetic of {package.provider} on this machine is at fault: serve fp32 here",
        )
    if cosine < good:
        facts = {"model": manifest.id, "quantized_cosine": round(cosine, 6), "expected": round(good, 6)}
        _log.warning("an int8 model is computed inexactly on this machine", extra={"f": facts})
    return cosine


def _read(package: Package) -> tuple[Sequence[tuple[Feeds, NDArray[np.float32]]], float]:
    with np.load(package.path(FILE), allow_pickle=False) as archive:
        arrays = dict(archive)
    count = sum(name.endswith(".out") for name in arrays)
    if not count:
        raise ValueError("it has no rows")
    heads = [f"{at}.in." for at in range(count)]
    rows = [
        ({name.removeprefix(head): each for name, each in arrays.items() if name.startswith(head)}, arrays[f"{at}.out"])
        for at, head in enumerate(heads)
    ]
    return rows, float(arrays[_NOISE])


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    if one.shape != other.shape:
        raise ValueError(f"the graph gives {one.shape}, the file has {other.shape}")
    left, right = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(left @ right / max(float(np.linalg.norm(left) * np.linalg.norm(right)), 1e-12))
