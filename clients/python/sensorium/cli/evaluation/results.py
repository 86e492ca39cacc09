"""Measures each pair of a kind of query and what it is held against, and says the numbers as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sensorium.cli.evaluation import metrics
from sensorium.cli.evaluation.asking import Mesh, Verdicts
from sensorium.cli.evaluation.dataset import Dataset
from sensorium.cli.evaluation.retrieval import Labelled, Places, Vectors, search
from sensorium.cli.inputs import Input, Kind
from sensorium.cli.output import number

NAMES: Literal["names"] = "names"
Against = Literal["names", "text", "image", "audio"]
TARGETS: tuple[Against, ...] = ("names", "text", "image", "audio")

_AT = (1, 5, 10)


@dataclass(frozen=True)
class OffTopic:
    """How well inputs that belong to no label are told from those that do, by what is said of their best label."""

    item_count: int
    auroc_probability: float
    auroc_score: float


@dataclass(frozen=True)
class Result:
    """The numbers of one pair; those that cannot be had are NaN.

    item_count: queries that the numbers are of: without those that failed, and those left out.
    left_out_count: queries whose label no candidate has.
    candidate_count: what each query is held against.
    counts: (labels, labels) int64 confusion matrix: rows are true, columns predicted.
    """

    query: Kind
    against: Against
    item_count: int
    failed_count: int
    left_out_count: int
    candidate_count: int
    counts: Places
    recall_at: Mapping[int, float]
    precision_at_5: float = np.nan
    calibration: metrics.Calibration | None = None
    off_topic: OffTopic | None = None

    @property
    def title(self) -> str:
        """What is measured."""
        return f"{self.query} → {self.against}"

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return metrics.accuracy(self.counts)

    def facts(self, labels: Sequence[str]) -> dict[str, Any]:
        """Returns everything. Any: JSON."""
        scores = metrics.class_scores(self.counts)
        return {
            "query": self.query,
            "against": self.against,
            "items": self.item_count,
            "failed": self.failed_count,
            "left_out": self.left_out_count,
            "candidates": self.candidate_count,
            "accuracy": number(self.accuracy),
            "macro": dict(zip(("precision", "recall", "f1"), map(number, scores.macro()), strict=True)),
            "recall_at": {str(k): number(value) for k, value in self.recall_at.items()},
            "precision_at_5": number(self.precision_at_5),
            "classes": _class_facts(scores, labels),
            "confusion": self.counts.tolist(),
            "calibration": None if self.calibration is None else _calibration_facts(self.calibration),
            "off_topic": None if self.off_topic is None else _off_topic_facts(self.off_topic),
        }


@dataclass
class Evaluation:
    """Asks a mesh about labelled things, each at most once a way, and measures the answers.

    names: those of the labels, in their order.
    off_topic: things that belong to no label, by kind.
    """

    mesh: Mesh
    dataset: Dataset
    names: Sequence[str]
    off_topic: Mapping[Kind, Sequence[Input]]
    _vectors: dict[Kind, Vectors] = field(default_factory=dict)

    def result(self, query: Kind, against: Against) -> Result:
        """Returns the numbers of one pair.

        Raises:
            SensoriumError: the mesh refused.
            typer.Exit: more inputs failed than may.
        """
        return self._by_names(query) if against == NAMES else self._by_items(query, against)

    def _by_names(self, query: Kind) -> Result:
        items = self.dataset.items[query]
        verdicts = self.mesh.classify(items.inputs, self.names, f"{query} → names")
        kept = verdicts.is_answered
        truth, ranks = items.truth[kept], verdicts.ranks(items.truth)[kept]
        return Result(
            query=query,
            against=NAMES,
            item_count=len(truth),
            failed_count=int((~kept).sum()),
            left_out_count=0,
            candidate_count=len(self.names),
            counts=metrics.confusion(truth, verdicts.order[kept, 0].astype(np.int64), len(self.names)),
            recall_at={k: metrics.recall_at(ranks, k, len(self.names)) for k in _AT},
            calibration=_calibration(verdicts.probability[kept], ranks),
            off_topic=self._against_off_topic(query, verdicts),
        )

    def _by_items(self, query: Kind, against: Kind) -> Result:
        queries, failed = self._labelled(query)
        candidates, _ = self._labelled(against)
        found = search(queries, candidates, len(self.names), excludes_self=query == against)
        precision = found.precision_at_5
        return Result(
            query=query,
            against=against,
            item_count=len(found.queries),
            failed_count=failed,
            left_out_count=len(queries.labels) - len(found.queries),
            candidate_count=found.candidate_count,
            counts=metrics.confusion(queries.labels[found.queries], found.predicted, len(self.names)),
            recall_at={k: metrics.recall_at(found.ranks, k, found.candidate_count) for k in _AT},
            precision_at_5=float(precision.mean()) if precision.size else np.nan,
        )

    def _labelled(self, kind: Kind) -> tuple[Labelled, int]:
        """Returns what could be embedded of a kind, and how many could not."""
        items = self.dataset.items[kind]
        if kind not in self._vectors:
            self._vectors[kind] = self.mesh.embed(items.inputs, f"embedding {kind}")
        vectors = self._vectors[kind]
        kept = ~np.isnan(vectors).any(axis=1) & (vectors.shape[1] > 0)
        return Labelled(vectors[kept], items.truth[kept]), int((~kept).sum())

    def _against_off_topic(self, query: Kind, verdicts: Verdicts) -> OffTopic | None:
        inputs = self.off_topic.get(query)
        if not inputs:
            return None
        others = self.mesh.classify(inputs, self.names, f"{query}, off topic")
        inside, outside = verdicts.is_answered, others.is_answered
        return OffTopic(
            item_count=int(outside.sum()),
            auroc_probability=metrics.auroc(verdicts.probability[inside], others.probability[outside]),
            auroc_score=metrics.auroc(verdicts.score[inside], others.score[outside]),
        )


def _calibration(probability: metrics.Numbers, ranks: Places) -> metrics.Calibration | None:
    """Returns None where there are no items, or the model does not say probabilities."""
    if not probability.size or np.isnan(probability).any():
        return None
    return metrics.calibration(probability, ranks == 0)


def _class_facts(scores: metrics.ClassScores, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the numbers of each label. Any: JSON."""
    return [
        {
            "label": label,
            "items": int(scores.items[at]),
            "precision": number(scores.precision[at]),
            "recall": number(scores.recall[at]),
            "f1": number(scores.f1[at]),
        }
        for at, label in enumerate(labels)
    ]


def _calibration_facts(found: metrics.Calibration) -> dict[str, Any]:
    """Returns the error, and the bins of the reliability diagram. Any: JSON."""
    edges = np.linspace(0, 1, len(found.counts) + 1)
    bins = [
        {
            "from": float(edges[at]),
            "to": float(edges[at + 1]),
            "items": int(found.counts[at]),
            "confidence": number(found.confidence[at]),
            "accuracy": number(found.accuracy[at]),
        }
        for at in range(len(found.counts))
    ]
    return {"expected_calibration_error": number(found.error), "bins": bins}


def _off_topic_facts(found: OffTopic) -> dict[str, Any]:
    """Returns the two areas. Any: JSON."""
    return {
        "items": found.item_count,
        "auroc_probability": number(found.auroc_probability),
        "auroc_score": number(found.auroc_score),
    }
