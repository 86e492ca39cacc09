"""Runs a package's graph with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.inference.manifest import package_error
from shared.inference.package import Package


class Session:
    """One onnxruntime session. Any number of threads may run it at once; the weights are shared.

    One thread a run: parallel single-threaded runs beat one wide run as soon as there is load, and threads that spin
    while they wait would take the CPU from the others.
    """

    def __init__(self, package: Package) -> None:
        """Loads the graph.

        Raises:
            FailedPrecondition: PACKAGE_INVALID; onnxruntime cannot load the graph, or it lacks the manifest's output.
        """
        self._package = package
        manifest = package.manifest
        try:
            self._session = onnxruntime.InferenceSession(
                str(package.path(manifest.graph)), _options(), providers=["CPUExecutionProvider"]
            )
        except Exception as fault:  # noqa: BLE001  # onnxruntime's errors share no public base
            raise self._error(f"onnxruntime cannot load it: {str(fault)[:200]}") from None
        outputs = [output.name for output in self._session.get_outputs()]
        if manifest.output not in outputs:
            raise self._error(f"has the outputs {', '.join(outputs)}, but field `output` says {manifest.output}")
        self.input_names = frozenset(graph_input.name for graph_input in self._session.get_inputs())

    def run(self, batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Returns the manifest's output for a batch: (b, …) float32.

        batch: every array by its name, with the batch axis first; arrays that the graph does not take are left out.
        """
        feeds = {name: array for name, array in batch.items() if name in self.input_names}
        output: NDArray[np.float32] = self._session.run([self._package.manifest.output], feeds)[0]
        return output

    def check_inputs(self, names: frozenset[str]) -> None:
        """Refuses a graph that wants inputs which preprocessing does not make."""
        missing = self.input_names - names
        if missing:
            made = ", ".join(sorted(names))
            raise self._error(f"wants the inputs {', '.join(sorted(missing))}; preprocessing makes {made}")

    def _error(self, problem: str) -> Exception:
        manifest = self._package.manifest
        return package_error(f"{manifest.name}/{manifest.version}", manifest.graph, problem)


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3  # warnings are about graph optimisations, which nobody at run time can act on
    return options
