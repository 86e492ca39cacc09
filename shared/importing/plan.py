"""What is understood of an export, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RESIZES = ("torchvision", "pil")
LONG_CLIPS = ("windows", "centre", "start")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a user says where an export's files do not.

    variant: which of its graphs.
    source: where it is from, such as `hf://owner/name`; some checkpoints are known by name.
    logit_scale, logit_bias: None takes what is known. text_logit_scale: of texts asked about the other modality, where
        that differs (CLAP).
    pooling: of hidden states, for an encoder whose files do not say; empty takes what is known, `none` the graph's own.
    prompts: named texts that go before texts, beside those of the files.
    resize: whose pixels to reproduce: torchvision's or pil's.
    long_clip: what becomes of a clip longer than the model's window; empty takes the reference's way.
    family: whose rules hold, in place of the `model_type` that the files state; empty takes that.
    """

    variant: str = "fp32"
    source: str = ""
    logit_scale: float | None = None
    text_logit_scale: float | None = None
    logit_bias: float | None = None
    pooling: str = ""
    prompts: Mapping[str, str] = field(default_factory=dict)
    resize: str = "torchvision"
    long_clip: str = ""
    family: str = ""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How cosines, or a head's logits, become probabilities, as far as it is known."""

    activation: str
    logit_scale: float | None = None
    logit_bias: float | None = None


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """A graph and what is wanted of it.

    file: its name in the package; output: of the graph.
    files: what is copied from the export, with paths relative to it. made: what is written, by name.
    dim: the width of the output; 0 where only a run tells.
    inputs: names and shapes, for people.
    runs_alone: why inputs must be run one by one; empty where they need not.
    token_count: the only number of tokens that it takes; 0 where it takes any.
    """

    file: str
    output: str
    files: Sequence[str] = ()
    made: Mapping[str, bytes] = field(default_factory=dict)
    dim: int = 0
    inputs: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    runs_alone: str = ""
    token_count: int = 0


@dataclass(frozen=True, slots=True)
class PackagePlan:
    """One package of an export.

    suffix: what its name ends with, where there are several: `text`, `vision`, `audio`, `classes`.
    modality: of an encoder; empty for the head of a classifier, whose task is `predict`.
    pooling: of hidden states, `none` where the graph pools. head: the file of a graph that follows on pooling.
    preprocess: the numbers of the manifest (Any: JSON).
    files, made: beside the graph's.
    max_batch_cost: of a batch, in the modality's unit.
    remarks: what a user should know, in sentences.
    """

    suffix: str
    modality: str
    graph: GraphPlan
    preprocess: Mapping[str, Any]
    pooling: str = "none"
    head: str = ""
    files: Sequence[str] = ()
    made: Mapping[str, bytes] = field(default_factory=dict)
    calibration: Calibration | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    labels: Sequence[str] = ()
    max_batch_cost: int = 16_384
    remarks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """All packages of an export; they share one embedding space."""

    family: str
    packages: Sequence[PackagePlan]
    licence: str
    source: str
