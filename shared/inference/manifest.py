"""`manifest.json`: what a model package says of itself. It holds the numbers; the steps are code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from sensorium.errors import FailedPrecondition, Reason
from shared.inference.pooling import NONE, POOLINGS, is_known
from shared.inference.typed import Count, CountOrNone, FieldFault, Name, Positive, read_json, typed

_Numbers = TypeVar("_Numbers")

SCHEMA = 1

MODALITIES = ("text", "image", "audio")

# The labels of the largest classifiers take less than a tenth of it.
MAX_BYTES = 8_000_000

_MOST_NAMED, _MOST_SAID = 120, 1_000  # characters of an error, which travels in the headers of an answer


class CalibrationNumbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How cosines become probabilities: activation(logit_scale * cos + logit_bias).

    none_cosine: the cosine below which the best label is probably none of these; None where that was not measured.
    """

    logit_scale: Positive
    activation: Literal["softmax", "sigmoid"]
    logit_bias: float | None = None
    none_cosine: Annotated[float, msgspec.Meta(ge=-1, le=1)] | None = None


class BatchLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much rides in one batch: items, and cost in the modality's unit with padding (tokens, pixels, frames)."""

    max_batch_items: Count
    max_batch_cost: Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model package in its own words; `docs/model-packages.md` explains each field."""

    schema: Literal[1]
    name: Name
    version: Name
    task: Literal["encode", "fuse", "project", "predict"]
    modality: Literal["text", "image", "audio", ""] = ""
    space: Name
    source_space: str = ""
    source_dim: CountOrNone = 0
    dim: Count
    graph: Name
    output: Name
    pooling: str = NONE
    head: str = ""
    precision: Literal["fp32", "bf16", "int8", ""] = ""
    preprocess: dict[str, Any] = {}  # Any: JSON; each modality reads its own numbers
    calibration: CalibrationNumbers | None = None
    prompts: dict[str, str] = {}
    templates: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    limits: BatchLimits
    licence: str = ""
    source: str = ""
    training: Any = None  # Any: facts for people; nothing reads them
    files: dict[str, str]

    @property
    def id(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


def read_manifest(text: str | bytes, package: str) -> Manifest:
    """Returns the manifest in `text`, as UTF-8 where it is bytes.

    package: how errors name the package, such as `tiny-text/1`.

    Raises:
        FailedPrecondition: PACKAGE_INVALID; names the file, the field, what was expected and what came.
    """
    try:
        if len(text) > MAX_BYTES:
            raise ValueError(f"has more than {MAX_BYTES} bytes")
        raw = read_json(text if isinstance(text, str) else text.decode())
        if not isinstance(raw, dict):
            raise ValueError("must hold one JSON object")
        return _checked(typed(raw, Manifest))
    except FieldFault as fault:
        raise package_error(package, "manifest.json", str(fault)) from None
    except ValueError as fault:
        raise package_error(package, "manifest.json", f"is no manifest: {fault}") from None


def read_numbers(manifest: Manifest, read: Callable[[Mapping[str, Any]], _Numbers]) -> _Numbers:
    """Returns a modality's numbers of preprocessing, as `read` takes them from the manifest (Any: JSON).

    Raises:
        FailedPrecondition: PACKAGE_INVALID; a number is missing or wrong.
    """
    try:
        return read(manifest.preprocess)
    except FieldFault as fault:
        problem = str(fault.under("preprocess"))
        raise package_error(f"{manifest.name}/{manifest.version}", "manifest.json", problem) from None


def package_error(package: str, file: str, problem: str) -> FailedPrecondition:
    """Returns the error for a package that fails a check; what a package holds may be of any length and bytes."""
    package, file = printable(package)[:_MOST_NAMED], printable(file)[:_MOST_NAMED]
    return FailedPrecondition(
        f"model package {package}: {file}: {printable(problem)[:_MOST_SAID]}",
        reason=Reason.PACKAGE_INVALID,
        metadata={"package": package, "file": file},
    )


def printable(text: str) -> str:
    """Returns a text that can be sent and shown: names of files may have any bytes, which are escaped."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def _checked(manifest: Manifest) -> Manifest:
    """Returns a manifest that has what its task needs, and nothing of what the task does not have."""
    task = manifest.task
    if not is_known(manifest.pooling):
        raise FieldFault("pooling", f"one of {', '.join(POOLINGS)}, or several joined by +", manifest.pooling)
    if task == "encode" and not manifest.modality:
        raise FieldFault("modality", f"one of {', '.join(MODALITIES)}")
    if task == "project" and not manifest.source_space:
        raise FieldFault("source_space", "a text that is not empty")
    if task == "project" and not manifest.source_dim:
        raise FieldFault("source_dim", "a whole number of at least 1")
    foreign: dict[str, Any] = {} if task == "encode" else {"modality": ""}  # Any: of whatever kind
    if task != "project":
        foreign |= {"source_space": "", "source_dim": 0}
    return msgspec.structs.replace(manifest, **foreign)
