"""What is understood of an export, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Calibration:
    """How cosines become probabilities, as far as it is known; `activation` is the family's."""

    activation: str
    logit_scale: float | None = None
    logit_bias: float | None = None


@dataclass(frozen=True, slots=True)
class EncoderPlan:
    """One encoder of an export.

    suffix: what its package's name ends with, where there are several: `text`, `vision`, `audio`.
    output: of the graph; pooling: of hidden states, `none` where the graph pools.
    dim: of the vectors; 0 where only a run of the graph tells.
    preprocess: the numbers of the manifest (Any: JSON).
    files: what is copied, with paths relative to the export.
    max_batch_cost: of a batch, in the modality's unit.
    remarks: what a user should know, in sentences.
    """

    suffix: str
    modality: str
    graph: str
    output: str
    pooling: str
    dim: int
    preprocess: Mapping[str, Any]
    files: Sequence[str]
    calibration: Calibration | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    templates: Sequence[str] = ()
    max_batch_cost: int = 16_384
    remarks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """All encoders of an export; they share one embedding space."""

    family: str
    encoders: Sequence[EncoderPlan]
    licence: str
    source: str
