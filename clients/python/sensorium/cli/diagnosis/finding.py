"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a diagnosis.

    check: what was looked at, such as `port` or `embed a text`.
    found: what came of it, in a few words.
    fix: what to do; empty where nothing is to be done.
    ms: how long it took, where that tells something; else None.
    """

    check: str
    state: State
    found: str
    fix: str = ""
    ms: float | None = None
