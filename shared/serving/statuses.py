"""What an error becomes at the border: a status with details for the caller, a mark on the span, a name in metrics."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import grpc
import grpc.aio
from google.rpc import status_pb2
from opentelemetry import trace

from sensorium.errors import BY_CODE, DeadlineExceeded, InternalError, SensoriumError
from sensorium.status import to_status
from shared.serving.call import Call

_log = logging.getLogger("sensorium.call")

# What a status may take of the headers that end a call. gRPC's clients refuse more than 8 KiB of them and then say
# RESOURCE_EXHAUSTED, whatever the status was; the rest is for other headers.
_MOST_BYTES = 7000
# Of an error that takes more, by part: errors carry what callers wrote.
_MOST_PROBLEM, _MOST_FIELD, _MOST_FACT, _MOST_FACTS = 600, 200, 100, 10


def expired() -> DeadlineExceeded:
    """Returns the error of a call whose time was over."""
    return DeadlineExceeded("the deadline passed; what was still waiting was not computed")


def as_error(cause: Exception, call: Call) -> SensoriumError:
    """Returns what a caller is told of an exception; of a bug, a reference to what the log says of it."""
    if isinstance(cause, SensoriumError):
        return cause
    if isinstance(cause, TimeoutError) and call.remaining_s() <= 0:
        return expired()
    reference = uuid.uuid4().hex[:12]
    facts = {"reference": reference, "request_id": call.request_id, "method": call.method}
    _log.error("a bug", exc_info=cause, extra={"f": facts})
    return InternalError(f"internal error; its reference is {reference}", metadata={"reference": reference})


def mark(span: trace.Span, error: SensoriumError) -> None:
    """Notes an error on a span; a fault of the caller does not make it a failed one."""
    span.set_attribute("rpc.grpc.status_code", error.code)
    if isinstance(error, InternalError):
        span.set_status(trace.StatusCode.ERROR, error.problem)


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: SensoriumError, call: Call) -> None:
    """Ends a call with an error's status and details (Any: of whatever messages); always raises."""
    status = fitting(error)
    await context.abort(
        _grpc_code(error),
        status.message,
        (("grpc-status-details-bin", status.SerializeToString()), ("x-request-id", call.request_id)),
    )


def fitting(error: SensoriumError) -> status_pb2.Status:
    """Returns an error's status, with the middle of its texts left out where they are too long for headers."""
    status = to_status(error)
    # In headers, text is percent-encoded where it is no printable ASCII, and bytes may be base64.
    is_plain = status.message.isascii() and status.message.isprintable()
    written = len(status.message.encode()) * (1 if is_plain else 3)
    if written + status.ByteSize() * 4 // 3 <= _MOST_BYTES:
        return status
    shorter = BY_CODE.get(error.code, InternalError)(
        _shortened(error.problem, _MOST_PROBLEM),
        reason=error.reason,
        field=_shortened(error.field, _MOST_FIELD),
        metadata={name: _shortened(fact, _MOST_FACT) for name, fact in list(error.metadata.items())[:_MOST_FACTS]},
        retry_after_s=error.retry_after_s,
    )
    return to_status(shorter)


def _shortened(text: str, most: int) -> str:
    """Returns a text of no more than `most` bytes and a mark; what it begins with is the fault, its end is the fix."""
    data = text.encode()
    if len(data) <= most:
        return text
    head, tail = data[: most // 2].decode(errors="ignore"), data[-(most // 2) :].decode(errors="ignore")
    return f"{head} … {tail}"


_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _grpc_code(error: SensoriumError) -> grpc.StatusCode:
    """Returns gRPC's name of an error's code."""
    return _CODES[error.code]


def code_name(error: SensoriumError | None) -> str:
    """Returns gRPC's name of an answer's code."""
    return "OK" if error is None else _grpc_code(error).name
