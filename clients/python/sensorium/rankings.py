"""Rankings: the labels that fit best, by `classify`; the classes that are likeliest, by `predict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from sensorium.answers import raise_first
from sensorium.display import MOST_ROWS, rankings_html
from sensorium.errors import SensoriumError
from sensorium.status import from_status
from sensorium.v1 import embedding_pb2, orchestrator_pb2


@dataclass(frozen=True)
class ScoredLabel:
    """One label and how well it fits: its cosine, and its probability where the model is calibrated."""

    name: str
    index: int
    score: float
    probability: float | None


@dataclass(frozen=True)
class Ranking(Sequence[ScoredLabel]):
    """The labels of one content, the best first; empty where the content failed.

    is_unsure: whether it is probably none of these: the best score is below `none_cosine`.
    none_cosine: the level, from the model's calibration; None where there is none, or it does not apply.
    """

    labels: Sequence[ScoredLabel]
    is_unsure: bool = False
    none_cosine: float | None = None

    @overload
    def __getitem__(self, at: int) -> ScoredLabel: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[ScoredLabel]: ...
    def __getitem__(self, at: int | slice) -> ScoredLabel | Sequence[ScoredLabel]:
        return self.labels[at]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, repr=False)
class Classification:
    """A ranking of labels for each content, the best first; an empty one where the content failed (see `errors`)."""

    rankings: Sequence[Ranking]
    errors: Mapping[int, SensoriumError]
    space: str
    receipt: embedding_pb2.Receipt

    def raise_for_errors(self) -> None:
        """Raises the first error, if there is one."""
        raise_first(self.errors)

    def __repr__(self) -> str:
        best = _listed([_best(ranking) for ranking in self.rankings])
        return f"Classification([{best}], space={self.space!r}, errors={len(self.errors)})"

    def _repr_html_(self) -> str:
        rows = [[(each.name, each.score, each.probability) for each in ranking] for ranking in self.rankings]
        unsure = {at for at, ranking in enumerate(self.rankings) if ranking.is_unsure}
        return rankings_html(f"Classification of {len(rows)} in {self.space}", rows, self.errors, unsure)


@dataclass(frozen=True)
class ClassProbability:
    """One class of a predictor and how probable it is."""

    label: str
    index: int
    probability: float


@dataclass(frozen=True, repr=False)
class Predictions:
    """The classes of each item, the most probable first; none where the item failed (see `errors`)."""

    predictions: Sequence[Sequence[ClassProbability]]
    errors: Mapping[int, SensoriumError]
    receipt: embedding_pb2.Receipt

    def raise_for_errors(self) -> None:
        """Raises the first error, if there is one."""
        raise_first(self.errors)

    def __repr__(self) -> str:
        best = _listed([repr(classes[0].label) if classes else "None" for classes in self.predictions])
        return f"Predictions([{best}], errors={len(self.errors)})"

    def _repr_html_(self) -> str:
        rows = [[(each.label, each.probability, each.probability) for each in classes] for classes in self.predictions]
        return rankings_html(f"Predictions of {len(rows)}", rows, self.errors)


def read_classification(response: orchestrator_pb2.ClassifyResponse) -> Classification:
    """Returns the answer to `Classify`."""
    errors = {at: from_status(each.error) for at, each in enumerate(response.results) if each.HasField("error")}
    rankings = [_ranking(result.ranking) for result in response.results]
    return Classification(rankings, errors, response.space, response.receipt)


def read_predictions(response: orchestrator_pb2.OrchestratorServicePredictResponse) -> Predictions:
    """Returns the answer to `Predict`."""
    errors = {at: from_status(each.error) for at, each in enumerate(response.results) if each.HasField("error")}
    predictions = [
        [ClassProbability(each.label, each.index, each.probability) for each in result.prediction.classes]
        for result in response.results
    ]
    return Predictions(predictions, errors, response.receipt)


def _ranking(found: orchestrator_pb2.LabelRanking) -> Ranking:
    labels = [
        ScoredLabel(each.name, each.index, each.score, each.probability if each.HasField("probability") else None)
        for each in found.labels
    ]
    return Ranking(labels, found.is_unsure, found.none_cosine if found.HasField("none_cosine") else None)


def _best(ranking: Ranking) -> str:
    if not ranking:
        return "None"
    return f"{ranking[0].name!r}{' (probably none of these)' if ranking.is_unsure else ''}"


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > MOST_ROWS else ""
    return f"{', '.join(names[:MOST_ROWS])}{more}"
