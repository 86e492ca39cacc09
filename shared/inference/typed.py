"""Turns JSON that people wrote into typed values; of what does not fit: which field, what was expected, what came.

The types do the work: fields of a `msgspec.Struct` or a dataclass, with their bounds in `Annotated`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, inspect

_Kind = TypeVar("_Kind")

# More than any model has, and little enough that nothing sized by it fills the memory.
MOST = 1 << 20

Count = Annotated[int, Meta(ge=1, le=MOST)]
CountOrNone = Annotated[int, Meta(ge=0, le=MOST)]  # 0: there is none
Positive = Annotated[float, Meta(gt=0)]
Samples = Annotated[int, Meta(ge=1, le=1 << 26)]  # more than an hour at 16 kHz
Rate = Annotated[int, Meta(ge=1, le=1 << 20)]  # in Hz
Frequency = Annotated[float, Meta(ge=0, le=1 << 20)]  # in Hz
Fft = Annotated[int, Meta(ge=2, le=1 << 16)]  # samples
MelCount = Annotated[int, Meta(ge=1, le=1 << 12)]  # the bank has as many rows, of half an FFT's length each
Name = Annotated[str, Meta(min_length=1)]

_MOST_SHOWN = 80
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<name>\w+)|\[(?P<place>\d+|\.\.\.)\]")
_NAMED = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)


class FieldFault(ValueError):
    """A field does not hold what it must; the message says `field: expected …, got …`."""

    def __init__(self, field: str, expected: str, came: Any = None) -> None:
        """Any: JSON. None as what came: nothing."""
        self._field, self._expected, self._came = field, expected, came
        shown = "nothing" if came is None else json.dumps(came)[:_MOST_SHOWN]
        super().__init__(f"field `{field[:_MOST_SHOWN]}`: expected {expected}, got {shown}")

    def under(self, field: str) -> FieldFault:
        """Returns the fault as the object sees it that has the one with the fault as a field."""
        return FieldFault(f"{field}.{self._field}", self._expected, self._came)


def read_json(text: str) -> Any:
    """Returns the JSON of a text (Any: of whatever kind), of which every text can be sent and every number counts.

    Raises:
        FieldFault: a key is there twice, a text has a NUL or half a surrogate pair, a number is NaN or infinite.
        ValueError: it is no JSON.
    """
    try:
        raw = json.loads(text, object_pairs_hook=_object)
        _check_values(raw, "")
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return raw


def typed(raw: Mapping[str, Any], kind: type[_Kind]) -> _Kind:
    """Returns an object of JSON as a `kind` (Any: JSON), converting nothing: a number in quotes is a text.

    Raises:
        FieldFault: a field is missing, unknown to a kind that forbids that, or not of its type.
    """
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as fault:
        raise _field_fault(str(fault), raw, inspect.type_info(kind)) from None


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise FieldFault(next(name for name in names if names.count(name) > 1), "one value", "several")
    return found


def _check_values(value: Any, field: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_values(name, field)
            _check_values(inner, f"{field}.{name[:_MOST_SHOWN]}".lstrip("."))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _check_values(inner, f"{field}[{place}]")
    elif isinstance(value, str) and _NO_TEXT.search(value):
        raise FieldFault(field, "a text without NUL and without halves of surrogate pairs", value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise FieldFault(field, "a finite number", value)


def _field_fault(message: str, raw: Any, info: inspect.Type) -> FieldFault:
    """Returns what a message of msgspec means: it says where, and what type was wanted there is known."""
    at = _PATH.search(message)
    value, field = raw, ""
    for step in _STEP.finditer(at["path"] if at else ""):
        value, info, name = _inside(value, info, step)
        field += name
    named = _NAMED.match(_PATH.sub("", message))
    if named:
        known = {each.encode_name: each.type for each in _fields(info)}
        is_missing = named["what"] == "missing required"
        expected = _expected(known[named["name"]]) if is_missing else f"one of the fields {', '.join(sorted(known))}"
        return FieldFault(f"{field}.{named['name']}".lstrip("."), expected, None if is_missing else named["name"])
    return FieldFault(field.lstrip("."), _expected(info), value)


def _inside(value: Any, info: inspect.Type, step: re.Match[str]) -> tuple[Any, inspect.Type, str]:
    """Returns what a step of a path leads to, the type that is wanted there, and how the step is spelt."""
    if step["name"]:
        inner = next(each.type for each in _fields(info) if each.encode_name == step["name"])
        return value[step["name"]], inner, step[0]
    for kind in _parts(info):
        if isinstance(kind, inspect.DictType):  # msgspec does not say under which key; values are texts
            name = next(key for key, inner in value.items() if not isinstance(inner, str))
            return value[name], kind.value_type, f".{name}"
        if isinstance(kind, inspect.VarTupleType):
            return value[int(step["place"])], kind.item_type, step[0]
        if isinstance(kind, inspect.TupleType):
            return value[int(step["place"])], kind.item_types[int(step["place"])], step[0]
    return value, info, step[0]


def _parts(info: inspect.Type) -> Sequence[inspect.Type]:
    return info.types if isinstance(info, inspect.UnionType) else (info,)


def _fields(info: inspect.Type) -> Sequence[inspect.Field]:
    objects = [kind for kind in _parts(info) if isinstance(kind, inspect.StructType | inspect.DataclassType)]
    return objects[0].fields if objects else ()


def _expected(info: inspect.Type) -> str:
    match info:
        case inspect.UnionType(types=kinds):
            return " or ".join(_expected(kind) for kind in kinds)
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(str(value) for value in values if value != "")
        case inspect.IntType() | inspect.FloatType():
            return _expected_number(info)
        case inspect.StrType(min_length=least):
            return "a text that is not empty" if least else "a text"
        case inspect.BoolType():
            return "true or false"
        case inspect.NoneType():
            return "null"
        case inspect.VarTupleType(item_type=kind):
            return f"a list, each {_expected(kind)}"
        case inspect.TupleType(item_types=kinds):
            return f"a list of {len(kinds)}, each {_expected(kinds[0])}"
    return "an object"


def _expected_number(info: inspect.IntType | inspect.FloatType) -> str:
    words = "a whole number" if isinstance(info, inspect.IntType) else "a number"
    if info.gt is not None:
        return f"{words} greater than {info.gt:g}"
    if info.ge is not None and info.le is not None:
        return f"{words} from {info.ge} to {info.le}"
    if info.ge is not None and info.lt is not None:
        return f"{words} from {info.ge} to {info.lt - 1}"
    return words
