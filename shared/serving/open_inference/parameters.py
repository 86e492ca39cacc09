"""Reads the parameters of a ModelInfer: what the model does, and how soon and how urgently."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from sensorium.errors import InvalidInput
from sensorium.oip.open_inference_pb2 import InferParameter
from sensorium.v1.embedding_pb2 import EncodeOptions
from shared.serving.call import Call

_Parameters = Mapping[str, InferParameter]
_Value = bool | int | str | float | None

_OPTIONS = ("normalize", "dimensions", "truncate")
# Clients add these of their own accord: how the answer travels (it always does so), and what only a sequence reads.
_UNREAD = ("binary_data_output", "binary_data", "sequence_id", "sequence_start", "sequence_end")
_MOST_DIMENSIONS = 2**31 - 1


def read_options(parameters: _Parameters, model: str) -> EncodeOptions:
    """Returns the options of the native calls.

    Raises:
        InvalidInput: a parameter is unknown, or its value is none.
    """
    known = (*_OPTIONS, "priority", "timeout", *_UNREAD)
    if unknown := sorted(name for name in parameters if name not in known):
        raise InvalidInput(f"has {unknown[0][:80]!r}; there are {', '.join(known[:5])}", field="parameters")
    options = EncodeOptions(model=model)
    for name in ("normalize", "truncate"):
        if (value := _value(parameters, name)) is not None:
            if not isinstance(value, bool):
                raise _wrong(name, value, "true or false")
            setattr(options, name, value)
    dimensions = _value(parameters, "dimensions")
    if dimensions is not None:
        if isinstance(dimensions, bool) or not isinstance(dimensions, int) or not 0 <= dimensions <= _MOST_DIMENSIONS:
            raise _wrong("dimensions", dimensions, "an integer, 0 for all")
        options.dimensions = dimensions
    return options


def adjusted(call: Call, parameters: _Parameters) -> Call:
    """Returns the call, or one message of a stream, with the priority and the time that its parameters say.

    The time only ever becomes less.

    Raises:
        InvalidInput: one of the two is out of its range.
    """
    priority, timeout_us = _value(parameters, "priority"), _value(parameters, "timeout")
    call = replace(call, deadline=call.item_deadline())
    if isinstance(priority, int):  # as Triton counts: 1 is the highest, 0 stands for the default
        call = replace(call, stated_priority="batch" if priority > 1 else "interactive")
    elif priority in ("interactive", "batch"):
        call = replace(call, stated_priority=str(priority))
    elif priority is not None:
        raise _wrong("priority", priority, "interactive, batch or a number")
    if timeout_us is None:
        return call
    if isinstance(timeout_us, str) and timeout_us.isascii() and timeout_us.isdigit():
        timeout_us = int(timeout_us[:18])
    if isinstance(timeout_us, bool) or not isinstance(timeout_us, int) or timeout_us < 0:
        raise _wrong("timeout", timeout_us, "microseconds, 0 for none")
    if timeout_us == 0:
        return call
    return replace(call, deadline=min(call.deadline, time.monotonic() + timeout_us / 1e6))


def _value(parameters: _Parameters, name: str) -> _Value:
    if name not in parameters:  # asking would put it in
        return None
    kind = parameters[name].WhichOneof("parameter_choice")
    return getattr(parameters[name], kind) if kind else None


def _wrong(name: str, value: _Value, wanted: str) -> InvalidInput:
    return InvalidInput(f"is {str(value)[:40]!r}; give {wanted}", field=f"parameters[{name}]")
