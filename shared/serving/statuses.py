"""What an error becomes at the border: a status with details for the caller, a mark on the span, a name in metrics."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import grpc
import grpc.aio
from opentelemetry import trace

from sensorium.errors import DeadlineExceeded, InternalError, SensoriumError
from sensorium.status import to_status
from shared.serving.call import Call

_log = logging.getLogger("sensorium.call")


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
    status = to_status(error)
    await context.abort(
        _grpc_code(error),
        status.message,
        (("grpc-status-details-bin", status.SerializeToString()), ("x-request-id", call.request_id)),
    )


_CODES = {code.value[0]: code for code in grpc.StatusCode}


def _grpc_code(error: SensoriumError) -> grpc.StatusCode:
    """Returns gRPC's name of an error's code."""
    return _CODES[error.code]


def code_name(error: SensoriumError | None) -> str:
    """Returns gRPC's name of an answer's code."""
    return "OK" if error is None else _grpc_code(error).name
