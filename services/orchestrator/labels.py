"""Labels: checked, and turned from names and examples into one vector each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import InvalidInput, Reason, SensoriumError
from sensorium.v1.orchestrator_pb2 import Label
from services.orchestrator.checks import check_count, check_most
from services.orchestrator.contents import Piece, named_text, pieces
from services.orchestrator.scores import normalized

_MAX_LABELS = 1000  # these three are of the contract: see ClassifyRequest and Label
_MAX_TEMPLATES = 100
_MAX_EXAMPLES = 100


@dataclass(frozen=True, slots=True)
class Definition:
    """What defines a label: its name through every template, and its examples. Either may be empty, not both."""

    names: Sequence[Piece]
    examples: Sequence[Piece]


def check_labels(labels: Sequence[Label], templates: Sequence[str]) -> None:
    """Refuses labels and templates that break the contract.

    Raises:
        InvalidInput: the first fault, by its field.
    """
    check_count("labels", len(labels), _MAX_LABELS)
    check_most("templates", len(templates), _MAX_TEMPLATES)
    seen: dict[str, int] = {}
    for index, label in enumerate(labels):
        _check_label(label, f"labels[{index}]")
        if label.name in seen:
            raise InvalidInput(
                f"is {label.name[:80]!r}, as labels[{seen[label.name]}].name is; names must differ",
                field=f"labels[{index}].name",
            )
        seen[label.name] = index
    for index, template in enumerate(templates):
        if "{}" not in template:
            raise InvalidInput(
                f"is {template[:80]!r}, without a {{}} where the label's name goes", field=f"templates[{index}]"
            )


def _check_label(label: Label, path: str) -> None:
    if not label.name.strip():
        raise InvalidInput("is empty; every label needs a name", reason=Reason.FIELD_MISSING, field=f"{path}.name")
    check_most(f"{path}.examples", len(label.examples), _MAX_EXAMPLES)
    if label.is_tag and not label.examples:
        raise InvalidInput(
            "is empty, but is_tag says that the examples alone define the label; give at least one",
            reason=Reason.FIELD_MISSING,
            field=f"{path}.examples",
        )


def definitions(labels: Iterable[Label], templates: Sequence[str], prompt: str) -> Sequence[Definition]:
    """Returns what is to be encoded for each label, the prompt before every text."""
    return [
        Definition(
            [
                named_text(label.name, template, f"labels[{index}].name", prompt)
                for template in templates
                if not label.is_tag
            ],
            pieces(f"labels[{index}].examples", label.examples, prompt),
        )
        for index, label in enumerate(labels)
    ]


def prototypes(
    defined: Sequence[Definition], rows: NDArray[np.float32], errors: Mapping[int, SensoriumError]
) -> NDArray[np.float32]:
    """Returns the (labels, dim) float32 vectors of labels, of length 1.

    rows: the vectors of all names and examples, label by label, names first, of length 1.

    Raises:
        SensoriumError: that of the first name or example that failed: a ranking needs all labels.
    """
    if errors:
        raise errors[min(errors)]
    return np.stack([_prototype(names, examples, path) for names, examples, path in _stretches(defined, rows)])


def _stretches(
    defined: Sequence[Definition], rows: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], str]]:
    """Yields the rows of each label's names and examples, and the label's path."""
    start = 0
    for index, definition in enumerate(defined):
        middle = start + len(definition.names)
        end = middle + len(definition.examples)
        yield rows[start:middle], rows[middle:end], f"labels[{index}]"
        start = end


def _prototype(names: NDArray[np.float32], examples: NDArray[np.float32], path: str) -> NDArray[np.float32]:
    """Returns the (dim,) vector of one label.

    The name: the mean over the templates, scaled to length 1, as CLIP's zero-shot classifier does (prompt ensembling,
    https://github.com/openai/CLIP/blob/main/notebooks/Prompt_Engineering_for_ImageNet.ipynb, `zeroshot_classifier`).
    The examples: their mean, as in prototypical networks (Snell et al. 2017, https://arxiv.org/abs/1703.05175, equation
    1), scaled to length 1. Where there are both they count alike.
    """
    means = [normalized(rows.mean(axis=0)) for rows in (names, examples) if len(rows)]
    prototype = normalized(np.mean(means, axis=0, dtype=np.float32))
    if np.isnan(prototype).any():
        raise InvalidInput(
            "has a name and examples whose vectors cancel each other out; leave some out",
            reason=Reason.EMBEDDING_INVALID,
            field=path,
        )
    return prototype
