"""Runs clients of the protocol that are not ours, each in a process and an environment of its own."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def answer_of(command: Sequence[str | Path], **asked: Any) -> Any:
    """Returns what a program answers, both as JSON (Any)."""
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def given(*elements: str | bytes) -> list[str]:
    return [base64.b64encode(each.encode() if isinstance(each, str) else each).decode() for each in elements]
