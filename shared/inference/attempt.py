"""Runs a graph once in a process of its own: a provider that crashes must not take the server along."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.inference.providers import Choice

_MOST_S = 120.0  # a guess: a graph of a gigabyte loads in about ten seconds


def attempt(graph: Path, choice: Choice, feeds: Mapping[str, NDArray[Any]]) -> str:
    """Returns what goes wrong when the graph runs on `feeds` in another process; empty where nothing does.

    Any: inputs of whatever type.
    """
    packed = io.BytesIO()
    np.savez(packed, *feeds.values())
    command = [sys.executable, "-m", __name__, str(graph), json.dumps(choice.specs), json.dumps(list(feeds))]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(  # noqa: S603  # this interpreter, with arguments of ours
            command, input=packed.getvalue(), capture_output=True, env=environ, timeout=_MOST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"takes longer than {_MOST_S:.0f} s"
    if done.returncode < 0:
        return f"crashes with {signal.Signals(-done.returncode).name}"
    return done.stderr.decode(errors="replace").strip()[-300:] if done.returncode else ""


def main(argv: Sequence[str]) -> int:
    """Runs the graph of the arguments on the arrays from stdin; returns 1, and says why, where that fails."""
    graph, specs, names = argv[0], json.loads(argv[1]), json.loads(argv[2])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as arrays:
            feeds = {name: arrays[f"arr_{at}"] for at, name in enumerate(names)}
        providers = [(name, spec) for name, spec in specs]
        onnxruntime.InferenceSession(graph, options, providers=providers).run(None, feeds)
    except Exception as fault:  # noqa: BLE001  # onnxruntime's errors share no public base
        print(str(fault)[:300], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
