"""What every system has to answer: vectors by onnxruntime on the graph, without any code of ours or the peers'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bench.inputs import Inputs
from bench.models.folder import Models, graph_of


def expected(inputs: Inputs, models: Models, count: int) -> Sequence[NDArray[np.float32]]:
    """Returns rows of length 1 for the first inputs: the mean of a text's states, a picture's CLS, a clip's output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(graph_of(models, inputs.kind)), options, providers=["CPUExecutionProvider"]
    )
    taken = {each.name for each in session.get_inputs()}
    rows = []
    for place in range(min(count, len(inputs.payloads))):
        feed = {name: array for name, array in inputs.feeds([place]).items() if name in taken}
        output = session.run(None, feed)[0][0]
        if inputs.kind == "image":
            output = output[0]
        elif output.ndim == 2:  # one text alone: nothing is padded
            output = output.mean(0)
        rows.append((output / np.linalg.norm(output)).astype(np.float32))
    return rows
