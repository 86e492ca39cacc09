"""What came of the inputs: how many ended how, and those that ended as none may."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that broke a promise.

    target, number: what makes it again, with the seed. said: which promise, and how. data: the input.
    """

    target: str
    number: int
    said: str
    data: bytes


@dataclass(slots=True)
class Tally:
    """Of all inputs so far.

    outcomes: how many of a target ended so. findings: those that should not have. canary: its first answer.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    canary: bytes | None = None

    @property
    def count(self) -> int:
        """How many inputs there were."""
        return self.outcomes.total()

    def add(self, target: str, outcome: str) -> None:
        """Counts an input."""
        self.outcomes[target, outcome] += 1

    def keep(self, folder: Path) -> None:
        """Writes the inputs that broke something into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for each in self.findings:
            stem = f"{each.target.strip('/').replace('/', '-')}-{each.number}"
            (folder / f"{stem}.bin").write_bytes(each.data)
            (folder / f"{stem}.txt").write_text(each.said)

    def kinds(self) -> list[tuple[str, int]]:
        """Returns what broke, each with how often, the most frequent first; references and numbers are left out."""
        said = Counter(f"{each.target}: {re.sub(r'[0-9a-f]{12}', '…', each.said)[-300:]}" for each in self.findings)
        return said.most_common()
