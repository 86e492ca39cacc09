"""One model ready to compute: rows of features in, rows of floats out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.inference import reference
from shared.inference.features import Features
from shared.inference.manifest import package_error
from shared.inference.package import Package
from shared.inference.pooling import NONE, pool
from shared.inference.providers import COMPILED_MULTIPLE, ON_CPU, Execution, batch_size, choose, compiles_shapes
from shared.inference.session import Session

_log = logging.getLogger("sensorium.models")

# Of a package's second graph, which takes the pooled vectors (b, width) and gives the embeddings (b, dim).
HEAD_INPUT, HEAD_OUTPUT = "pooled", "embedding"


class Model:
    """A package's graph with what goes around it: collating, padding, pooling, and what follows on it.

    pad_values: for a model that pads, what fills each array beyond an item's own length; empty for one whose rows
        must have one shape.
    pad_multiple: lengths are padded up to a multiple of this, which bounds the number of shapes.
    max_length: but never beyond this; 0 for no bound.
    execution: what the server can and wants to run graphs with.

    quantized_cosine: of an int8 graph, the least cosine of what this machine computes to what the weights say; None
        before the warm-up, and where the package keeps nothing to tell it by.

    `package` is the package as it runs. Where the provider compiles each shape, batches are filled up to one of few
    sizes, and the first batch of a shape pays for it: at load that is the canary's alone.
    """

    def __init__(
        self,
        package: Package,
        pad_values: Mapping[str, float] | None = None,
        pad_multiple: int = 1,
        max_length: int = 0,
        execution: Execution | None = None,
    ) -> None:
        """Loads the graph; raises FailedPrecondition where it does not fit the manifest."""
        self.pads = bool(pad_values)
        self._pad_values = dict(pad_values or {})
        self._pad_multiple, self._max_length = pad_multiple, max_length
        manifest = package.manifest
        self._choice = choose(execution or Execution(), manifest.precision)
        self._session = self._opened(package)
        threads = execution.lone_threads if execution is not None and self._session.provider == "cpu" else 1
        self._wide = Session(package, manifest.graph, manifest.output, threads=threads) if threads > 1 else None
        # One product of matrices for each text: not worth a lower precision.
        self._head = Session(package, manifest.head, HEAD_OUTPUT) if manifest.head else None
        self.quantized_cosine: float | None = None
        self._is_pooled = manifest.pooling != NONE
        self._taken = self._session.input_names | ({"attention_mask", "pooling_mask"} if self._is_pooled else set())

    def padded_length(self, length: int) -> int:
        """Returns the length that rows of `length` have in a batch of their own."""
        is_compiled = self.pads and self._compiles_shapes
        multiple = max(self._pad_multiple, COMPILED_MULTIPLE) if is_compiled else self._pad_multiple
        padded = -(-length // multiple) * multiple
        return min(padded, self._max_length) if self._max_length else padded

    @property
    def has_width(self) -> bool:
        """Whether a batch that runs alone can have several threads."""
        return self._wide is not None

    def compute(self, rows: Sequence[Features], *, is_wide: bool = False) -> NDArray[np.float32]:
        """Returns (n, dim) float32 for n rows, in their order; not normalised.

        is_wide: by all threads, where `has_width`.
        """
        batch = self._collated(self._filled(rows))
        session = self._wide if is_wide and self._wide is not None else self._session
        pooled = self._pooled(session.run(batch), batch)[: len(rows)]
        return pooled if self._head is None else self._head.run({HEAD_INPUT: pooled})

    def taken(self, row: Features) -> Features:
        """Returns a row without what the model does not look at."""
        return replace(row, arrays={name: array for name, array in row.arrays.items() if name in self._taken})

    def feeds(self, rows: Sequence[Features]) -> Mapping[str, NDArray[Any]]:
        """Returns what the graph is given for a batch: every input by its name, with the batch axis first."""
        return self._session.feeds(self._collated(rows))

    def warm_up(self, row: Features) -> None:
        """Runs one row through the whole model; where that fails with a provider that nobody asked for, on the CPU.

        Raises:
            FailedPrecondition: PACKAGE_INVALID; the graph wants other inputs, fails, or returns another width.
        """
        manifest = self.package.manifest
        label = f"{manifest.name}/{manifest.version}"
        self._session.check_inputs(frozenset(row.arrays))
        problem = self._session.problem_with(self._collated([row]))
        if problem and self._choice.is_demanded:
            raise package_error(label, manifest.graph, f"fails in a trial with {self.package.provider}: {problem}")
        if problem:
            facts = {"model": manifest.id, "provider": self.package.provider, "why": problem}
            _log.warning("a model runs on the CPU in fp32", extra={"f": facts})
            self._choice = ON_CPU
            self._session = self._opened(self.package)
        try:
            output = self.compute([row])
        except Exception as fault:  # noqa: BLE001  # onnxruntime's errors share no public base
            raise package_error(label, manifest.graph, f"fails in a warm-up inference: {str(fault)[:200]}") from None
        width = len(manifest.labels) if manifest.task == "predict" else manifest.dim
        if output.shape != (1, width):
            expected = "as many classes as field `labels`" if manifest.task == "predict" else "field `dim`"
            raise package_error(
                label, manifest.graph, f"returns rows of shape {output.shape[1:]}; expected ({width},): {expected}"
            )
        if not np.isfinite(output).all():
            raise package_error(label, manifest.graph, "returns NaN or infinity in a warm-up inference")
        if self.quantized_cosine is None:
            self.quantized_cosine = reference.held(self.package, self._session.run)

    def _opened(self, package: Package) -> Session:
        """Returns the session that was chosen; from then on `package` says what it runs with."""
        choice, manifest = self._choice, package.manifest
        session = Session(package, manifest.graph, manifest.output, choice)
        is_as_chosen = session.provider == choice.providers[0]
        precision = "fp32" if choice.precision == "bf16" and not is_as_chosen else choice.precision
        self.package = package.running(precision, session.provider)
        self._compiles_shapes = compiles_shapes(session.provider)
        return session

    def _filled(self, rows: Sequence[Features]) -> Sequence[Features]:
        """Returns the rows, and copies of the first behind them up to a batch size that the provider may see."""
        if not self._compiles_shapes:
            return rows
        size = batch_size(len(rows), self.package.manifest.limits.max_batch_items)
        return [*rows, *[rows[0]] * (size - len(rows))]

    def _collated(self, rows: Sequence[Features]) -> Mapping[str, NDArray[Any]]:
        names = [name for name in rows[0].arrays if name in self._taken]
        if not self.pads:
            return {name: np.stack([row.arrays[name] for row in rows]) for name in names}
        length = self.padded_length(max(row.length for row in rows))
        return {name: self._padded([row.arrays[name] for row in rows], length, name) for name in names}

    def _padded(self, arrays: Sequence[NDArray[Any]], length: int, name: str) -> NDArray[Any]:
        first = arrays[0]
        batch = np.full((len(arrays), length, *first.shape[1:]), self._pad_values[name], first.dtype)
        for place, array in enumerate(arrays):
            batch[place, : array.shape[0]] = array
        return batch

    def _pooled(self, output: NDArray[np.float32], batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Returns (b, dim): the output itself, or its hidden states (b, s, dim) pooled (sentence-transformers)."""
        if not self._is_pooled:
            return output
        mask = batch.get("pooling_mask", batch.get("attention_mask"))
        if mask is None or mask.shape != output.shape[:2]:  # of sounds and pictures: their states are all real
            mask = np.ones(output.shape[:2], np.float32)
        return pool(output, mask.astype(np.float32, copy=False), self.package.manifest.pooling)
