"""Carries errors over the wire: `SensoriumError` to `google.rpc.Status` and back."""

from __future__ import annotations

from typing import TypeVar, cast

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from sensorium.errors import BY_CODE, InternalError, InvalidInput, Reason, SensoriumError, Unavailable

DOMAIN = "sensorium"

_Detail = TypeVar("_Detail", error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)

# What a peer that is not Sensorium, or gRPC itself, means by a code that we never send.
_FOREIGN = {
    grpc.StatusCode.UNIMPLEMENTED: "the server has no such method: is it another service, or another version?",
    grpc.StatusCode.DEADLINE_EXCEEDED: "the deadline passed before an answer came; give the call more time",
    grpc.StatusCode.UNKNOWN: "the server failed without saying why",
}


def to_status(error: SensoriumError) -> status_pb2.Status:
    """Returns the status of an error, with `ErrorInfo`, and `BadRequest` and `RetryInfo` where they apply."""
    info = error_details_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=error.metadata)
    details = [_packed(info)]
    if isinstance(error, InvalidInput) or error.field:  # an empty field means the request as a whole
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.problem, reason=error.reason.value
        )
        details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(code=error.code, message=str(error), details=details)


def from_status(status: status_pb2.Status) -> SensoriumError:
    """Returns the error of a status, with all that its details say; unknown codes become `InternalError`."""
    kind = BY_CODE.get(status.code, InternalError)
    info = _detail(status, error_details_pb2.ErrorInfo)
    bad = _detail(status, error_details_pb2.BadRequest)
    retry = _detail(status, error_details_pb2.RetryInfo)
    field, problem = "", status.message
    if bad is not None and bad.field_violations:
        field, problem = bad.field_violations[0].field, bad.field_violations[0].description
    return kind(
        problem,
        reason=_reason(info.reason) if info is not None else None,
        field=field,
        metadata=info.metadata if info is not None else None,
        retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9 if retry is not None else None,
    )


def from_rpc_error(error: grpc.RpcError) -> SensoriumError:
    """Returns the error of a failed call: from its rich status where it has one, else from its code and text."""
    # grpc.aio.AioRpcError and the synchronous call objects both carry code(), details() and trailing_metadata().
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return Unavailable(f"the call failed: {error}")
    rich = _rich_status(error)
    if rich is not None:
        return from_status(rich)
    code, text = error.code(), error.details() or ""
    if code is grpc.StatusCode.CANCELLED:  # not by us: a caller's own cancellation is no error of the call
        return Unavailable("the server is shutting down and cancelled the call", reason=Reason.DRAINING)
    kind = BY_CODE.get(code.value[0], InternalError)
    return kind(_FOREIGN.get(code, text) or f"the call ended with {code.name}")


def _rich_status(error: grpc.Call | grpc.aio.AioRpcError) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(cast("grpc.Call", error))  # cast: AioRpcError has all that it reads
    except ValueError:
        return None  # a proxy changed the code or the text and left the details: the code is what counts


def _packed(message: _Detail) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _detail(status: status_pb2.Status, kind: type[_Detail]) -> _Detail | None:
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            return message
    return None


def _reason(name: str) -> Reason:
    try:
        return Reason(name)
    except ValueError:
        return Reason.UNSPECIFIED
