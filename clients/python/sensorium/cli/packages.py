"""Tells which services a folder of model packages is for, without the services' code."""

from __future__ import annotations

import json
from pathlib import Path

# By the modality that a package takes; one that takes none works on vectors.
_BY_MODALITY = {"text": "text", "image": "vision", "audio": "audio"}


def served_by(models: Path) -> set[str]:
    """Returns the names of the services that some package is for.

    A manifest that cannot be read may be for any of them: they say what is wrong with it.
    """
    served: set[str] = set()
    for manifest in models.glob("*/*/manifest.json"):
        try:
            content = json.loads(manifest.read_bytes())
            modality = content.get("modality")
        except (OSError, ValueError, AttributeError):
            return {*_BY_MODALITY.values(), "fusion"}
        if modality in _BY_MODALITY:
            served.add(_BY_MODALITY[modality])
        if content.get("task") in ("fuse", "project", "predict"):
            served.add("fusion")
    return served
