"""`manifest.json`: what a model package says of itself. It holds the numbers; the steps are code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sensorium.errors import FailedPrecondition, Reason
from shared.inference.pooling import NONE, POOLINGS, is_known

_Numbers = TypeVar("_Numbers")

SCHEMA = 1

TASKS = ("encode", "fuse", "project", "predict")
MODALITIES = ("text", "image", "audio")
ACTIVATIONS = ("softmax", "sigmoid")
PRECISIONS = ("fp32", "bf16", "int8")


@dataclass(frozen=True, slots=True)
class CalibrationNumbers:
    """How cosines become probabilities: activation(logit_scale * cos + logit_bias).

    none_cosine: the cosine below which the best label is probably none of these; None where that was not measured.
    """

    logit_scale: float
    logit_bias: float | None
    activation: str
    none_cosine: float | None = None


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much rides in one batch: items, and cost in the modality's unit with padding (tokens, pixels, frames)."""

    max_batch_items: int
    max_batch_cost: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One model package in its own words; `docs/model-packages.md` explains each field."""

    name: str
    version: str
    task: str
    modality: str
    space: str
    source_space: str
    source_dim: int
    dim: int
    graph: str
    output: str
    pooling: str
    head: str
    precision: str
    preprocess: Mapping[str, Any]  # Any: JSON; each modality reads its own numbers
    calibration: CalibrationNumbers | None
    prompts: Mapping[str, str]
    templates: Sequence[str]
    labels: Sequence[str]
    limits: BatchLimits
    licence: str
    source: str
    files: Mapping[str, str]

    @property
    def id(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


_KNOWN = {"schema", "calibration", "limits", "training", *Manifest.__dataclass_fields__}


def read_manifest(text: str, package: str) -> Manifest:
    """Returns the manifest in `text`.

    package: how errors name the package, such as `tiny-text/1`.

    Raises:
        FailedPrecondition: PACKAGE_INVALID; names the file, the field, what was expected and what came.
    """
    try:
        raw = json.loads(text)
    except json.JSONDecodeError as fault:
        raise package_error(package, "manifest.json", f"is no JSON: {fault}") from None
    if not isinstance(raw, dict):
        raise package_error(package, "manifest.json", "must hold one JSON object")
    reader = _Reader(raw, package)
    reader.check_known(_KNOWN)
    reader.one_of("schema", (SCHEMA,))
    task = reader.one_of("task", TASKS)
    return Manifest(
        name=reader.text("name"),
        version=reader.text("version"),
        task=task,
        modality=reader.one_of("modality", MODALITIES) if task == "encode" else "",
        space=reader.text("space"),
        source_space=reader.text("source_space") if task == "project" else "",
        source_dim=reader.count("source_dim") if task == "project" else 0,
        dim=reader.count("dim"),
        graph=reader.text("graph"),
        output=reader.text("output"),
        pooling=_pooling(reader),
        head=reader.text("head", ""),
        precision=reader.one_of("precision", PRECISIONS) if "precision" in raw else "",
        preprocess=reader.typed("preprocess", dict, {}),
        calibration=_calibration(reader),
        prompts=reader.typed("prompts", dict, {}),
        templates=reader.texts("templates"),
        labels=reader.texts("labels"),
        limits=_limits(reader),
        licence=reader.text("licence", ""),
        source=reader.text("source", ""),
        files=reader.typed("files", dict),
    )


def read_numbers(manifest: Manifest, read: Callable[[Mapping[str, Any]], _Numbers]) -> _Numbers:
    """Returns a modality's numbers of preprocessing, as `read` takes them from the manifest (Any: JSON).

    Raises:
        FailedPrecondition: PACKAGE_INVALID; a number is missing or wrong.
    """
    try:
        return read(manifest.preprocess)
    except (KeyError, TypeError, ValueError) as fault:
        problem = f"field `preprocess`: missing or wrong: {fault}"
        raise package_error(f"{manifest.name}/{manifest.version}", "manifest.json", problem) from None


def package_error(package: str, file: str, problem: str) -> FailedPrecondition:
    """Returns the error for a package that fails a check."""
    return FailedPrecondition(
        f"model package {package}: {file}: {problem}",
        reason=Reason.PACKAGE_INVALID,
        metadata={"package": package, "file": file},
    )


def _pooling(reader: _Reader) -> str:
    modes = reader.text("pooling", NONE)
    if not is_known(modes):
        raise reader.error("pooling", f"one of {', '.join(POOLINGS)}, or several joined by +", modes)
    return modes


def _calibration(reader: _Reader) -> CalibrationNumbers | None:
    inner = reader.inner("calibration")
    if inner is None:
        return None
    return CalibrationNumbers(
        logit_scale=inner.number("logit_scale", lambda scale: scale > 0, "a number greater than 0"),
        logit_bias=None if inner.raw.get("logit_bias") is None else inner.number("logit_bias"),
        activation=inner.one_of("activation", ACTIVATIONS),
        none_cosine=None
        if inner.raw.get("none_cosine") is None
        else inner.number("none_cosine", lambda cosine: -1 <= cosine <= 1, "a cosine from -1 to 1"),
    )


def _limits(reader: _Reader) -> BatchLimits:
    inner = reader.inner("limits")
    if inner is None:
        raise reader.error("limits", "an object", None)
    return BatchLimits(inner.count("max_batch_items"), inner.count("max_batch_cost"))


class _Reader:
    """Takes fields out of a JSON object and says precisely what is wrong with one. Any: JSON holds anything."""

    def __init__(self, raw: Mapping[str, Any], package: str, prefix: str = "") -> None:
        self.raw = raw
        self._package = package
        self._prefix = prefix

    def error(self, name: str, expected: str, came: Any) -> FailedPrecondition:
        shown = "nothing" if came is None else json.dumps(came)[:80]
        problem = f"field `{self._prefix}{name}`: expected {expected}, got {shown}"
        return package_error(self._package, "manifest.json", problem)

    def check_known(self, known: set[str]) -> None:
        for name in self.raw.keys() - known:
            raise self.error(name, f"one of the fields {', '.join(sorted(known))}", name)

    def typed(self, name: str, kind: type[Any], default: Any = None) -> Any:
        value = self.raw.get(name, default)
        if not isinstance(value, kind):
            raise self.error(
                name, {dict: "an object", bool: "true or false", str: "a text"}.get(kind, kind.__name__), value
            )
        return value

    def text(self, name: str, default: str | None = None) -> str:
        value = self.typed(name, str, default)
        if not value and default is None:
            raise self.error(name, "a text that is not empty", value)
        return str(value)

    def texts(self, name: str) -> Sequence[str]:
        value = self.raw.get(name, [])
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self.error(name, "a list of texts", value)
        return tuple(value)

    def one_of(self, name: str, choices: Sequence[Any], default: Any = None) -> Any:
        value = self.raw.get(name, default)
        if value not in choices:
            raise self.error(name, f"one of {', '.join(map(str, choices))}", value)
        return value

    def number(self, name: str, holds: Callable[[float], bool] = lambda _: True, expected: str = "a number") -> float:
        value = self.raw.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not holds(value):
            raise self.error(name, expected, value)
        return float(value)

    def count(self, name: str) -> int:
        value = self.raw.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error(name, "a whole number of at least 1", value)
        return value

    def inner(self, name: str) -> _Reader | None:
        value = self.raw.get(name)
        if value is None:
            return None
        return _Reader(self.typed(name, dict), self._package, f"{self._prefix}{name}.")
