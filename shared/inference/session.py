"""Runs a graph of a package with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.inference.attempt import attempt
from shared.inference.manifest import package_error
from shared.inference.package import Package
from shared.inference.providers import GPU, ON_CPU, PROVIDERS, Choice


class Session:
    """One onnxruntime session. Any number of threads may run it at once; the weights are shared.

    One thread a run: parallel single-threaded runs beat one wide run as soon as there is load, and threads that spin
    while they wait would take the CPU from the others.

    threads: more than one for a session that runs alone: they spin while they wait for each other, until the run ends.
    provider: what really runs it, a key of PROVIDERS; single nodes may run on the CPU.
    """

    def __init__(self, package: Package, graph: str, output: str, choice: Choice = ON_CPU, threads: int = 1) -> None:
        """Loads the graph in a file of the package, of which `output` is wanted.

        Raises:
            FailedPrecondition: PACKAGE_INVALID; onnxruntime cannot load the graph, it lacks the output, or the provider
                that was chosen does not work here.
        """
        self._package, self._graph, self._output, self._choice = package, graph, output, choice
        if choice.providers[0] in GPU:
            onnxruntime.preload_dlls()  # CUDA's and cuDNN's libraries lie in wheels, where no linker looks
        try:
            self._session = onnxruntime.InferenceSession(
                str(package.path(graph)), _options(choice, threads), providers=list(choice.specs)
            )
        except Exception as fault:  # noqa: BLE001  # onnxruntime's errors share no public base
            raise self._error(f"onnxruntime cannot load it: {str(fault)[:200]}") from None
        self.provider = self._running(choice)
        outputs = [output.name for output in self._session.get_outputs()]
        if output not in outputs:
            raise self._error(f"has the outputs {', '.join(outputs)}, but {output} is wanted")
        self._dtypes = {each.name: _DTYPES.get(each.type) for each in self._session.get_inputs()}
        self.input_names = frozenset(self._dtypes)

    def run(self, batch: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Returns the output for a batch: (b, …) float32.

        batch: every array by its name, with the batch axis first; arrays that the graph does not take are left out,
        and those that it takes in another precision are cast.
        """
        output: NDArray[Any] = self._session.run([self._output], self.feeds(batch))[0]
        return output.astype(np.float32, copy=False)

    def feeds(self, batch: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Returns the arrays of a batch that the graph takes, each in its precision."""
        return {
            name: array.astype(self._dtypes[name] or array.dtype, copy=False)
            for name, array in batch.items()
            if name in self._dtypes
        }

    def problem_with(self, batch: Mapping[str, NDArray[Any]]) -> str:
        """Returns what goes wrong when a batch runs in another process; empty where nothing does.

        OpenVINO's provider alone is tried: 1.24 ends some graphs of decoders with SIGSEGV, and fails on a Swin.
        """
        if self.provider != "openvino":
            return ""
        return attempt(self._package.path(self._graph), self._choice, self.feeds(batch))

    def check_inputs(self, names: frozenset[str]) -> None:
        """Refuses a graph that wants inputs which preprocessing does not make."""
        missing = self.input_names - names
        if missing:
            made = ", ".join(sorted(names))
            raise self._error(f"wants the inputs {', '.join(sorted(missing))}; preprocessing makes {made}")

    def _running(self, choice: Choice) -> str:
        """Returns the most preferred provider that runs at least a node of the graph."""
        if choice.providers[0] == "cpu":
            return "cpu"
        started = self._session.get_providers()
        for name in choice.providers:
            if PROVIDERS[name] not in started:  # onnxruntime leaves out what it cannot start, and says so in its log
                raise self._error(f"the provider {name} cannot be started here; onnxruntime's log says why")
        parts = self._session.get_provider_graph_assignment_info()
        used = {part.ep_name for part in parts if part.get_nodes()}
        return next((name for name in choice.providers if PROVIDERS[name] in used), "cpu")

    def _error(self, problem: str) -> Exception:
        manifest = self._package.manifest
        return package_error(f"{manifest.name}/{manifest.version}", self._graph, problem)


# Of the inputs that exports take in more than one precision.
_DTYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


def _options(choice: Choice, threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads > 1 else "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Without VNNI, onnxruntime's products of uint8 and int8 saturate at 16 bits, and vectors are silently wrong. This
    # has them computed as uint8 by uint8 there, and changes nothing on CPUs that have it.
    options.add_session_config_entry("session.x64quantprecision", "1")
    if choice.providers[0] != "cpu":
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.log_severity_level = 3  # warnings are about graph optimisations, which nobody at run time can act on
    return options
