"""What the tests ask a server by way of tritonclient; see `triton.py`."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.serving.server import Running

_DRIVER = Path(__file__).with_name("triton.py")
_TIMEOUT_S = 60.0

Step = dict[str, Any]  # Any: JSON


async def asked(service: Running, *steps: Step) -> Any:
    """Returns what came of each step at a server (Any: JSON)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(_DRIVER),
        f"127.0.0.1:{service.port}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ),
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            out, err = await process.communicate(json.dumps(steps).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def infer(model: str, /, outputs: Sequence[str] | None = None, **inputs: Any) -> Step:
    """Returns a step that infers. Any: bytes in a list, or ["FP32" or "INT64", numbers]."""
    step: Step = {"do": "infer", "model": model, "inputs": {name: _written(given) for name, given in inputs.items()}}
    return step if outputs is None else step | {"outputs": list(outputs)}


def _written(given: Any) -> Any:
    return [base64.b64encode(each).decode() for each in given] if isinstance(given[0], bytes) else given
