"""The errors of Sensorium, raised by services and clients alike, each named for who must act.

SensoriumError
├── InvalidInput        INVALID_ARGUMENT     the caller changes the request
├── NotFound            NOT_FOUND            the caller names something that exists
├── FailedPrecondition  FAILED_PRECONDITION  the mesh's operator loads what is missing, or the caller asks otherwise
├── Unauthenticated     UNAUTHENTICATED      the caller sends a valid token
├── PermissionDenied    PERMISSION_DENIED    the operator grants the right
├── Overloaded          RESOURCE_EXHAUSTED   the caller waits `retry_after_s` and tries again
├── Unavailable         UNAVAILABLE          the caller tries again; the operator looks at the named service
├── DeadlineExceeded    DEADLINE_EXCEEDED    the caller gives more time
├── Cancelled           CANCELLED            nobody: the caller hung up
└── InternalError       INTERNAL             we do: the reference leads to the log
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, Self


class Reason(StrEnum):
    """`google.rpc.ErrorInfo.reason`: the values of `sensorium.v1.ErrorReason`, where each is explained."""

    UNSPECIFIED = "ERROR_REASON_UNSPECIFIED"
    EMPTY_REQUEST = "ERROR_REASON_EMPTY_REQUEST"
    TOO_MANY_ITEMS = "ERROR_REASON_TOO_MANY_ITEMS"
    MESSAGE_TOO_LARGE = "ERROR_REASON_MESSAGE_TOO_LARGE"
    FIELD_MISSING = "ERROR_REASON_FIELD_MISSING"
    FIELD_INVALID = "ERROR_REASON_FIELD_INVALID"
    TEXT_EMPTY = "ERROR_REASON_TEXT_EMPTY"
    TEXT_TOO_LONG = "ERROR_REASON_TEXT_TOO_LONG"
    MEDIA_UNDECODABLE = "ERROR_REASON_MEDIA_UNDECODABLE"
    MEDIA_TRUNCATED = "ERROR_REASON_MEDIA_TRUNCATED"
    MEDIA_TOO_LARGE = "ERROR_REASON_MEDIA_TOO_LARGE"
    MEDIA_TOO_SHORT = "ERROR_REASON_MEDIA_TOO_SHORT"
    EMBEDDING_INVALID = "ERROR_REASON_EMBEDDING_INVALID"
    MODEL_NOT_FOUND = "ERROR_REASON_MODEL_NOT_FOUND"
    SPACE_NOT_FOUND = "ERROR_REASON_SPACE_NOT_FOUND"
    PROMPT_NOT_FOUND = "ERROR_REASON_PROMPT_NOT_FOUND"
    PACKAGE_INVALID = "ERROR_REASON_PACKAGE_INVALID"
    SPACES_DIFFER = "ERROR_REASON_SPACES_DIFFER"
    MODALITY_UNSUPPORTED = "ERROR_REASON_MODALITY_UNSUPPORTED"
    NOT_CALIBRATED = "ERROR_REASON_NOT_CALIBRATED"
    OVERLOADED = "ERROR_REASON_OVERLOADED"
    LOADING = "ERROR_REASON_LOADING"
    DRAINING = "ERROR_REASON_DRAINING"
    PEER_UNAVAILABLE = "ERROR_REASON_PEER_UNAVAILABLE"
    DEADLINE_EXCEEDED = "ERROR_REASON_DEADLINE_EXCEEDED"
    UNAUTHENTICATED = "ERROR_REASON_UNAUTHENTICATED"
    PERMISSION_DENIED = "ERROR_REASON_PERMISSION_DENIED"
    INTERNAL = "ERROR_REASON_INTERNAL"
    QUOTA_EXCEEDED = "ERROR_REASON_QUOTA_EXCEEDED"


class SensoriumError(Exception):
    """One refusal.

    problem: what was wrong, what was expected, what came and how to mend it, in one sentence without the field.
    reason: the machine-readable cause.
    field: path of the offending field in the request, such as `contents[3].image.data`; empty where none is.
    metadata: further facts for programs, such as `{"limit": "64"}`.
    retry_after_s: how long to wait before another try; None where trying again does not help.
    """

    code: ClassVar[int] = 2  # google.rpc.Code.UNKNOWN
    default_reason: ClassVar[Reason] = Reason.UNSPECIFIED

    def __init__(
        self,
        problem: str,
        *,
        reason: Reason | None = None,
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Keeps the parts; `str(error)` is the message that a client reads."""
        super().__init__(f"{field}: {problem}" if field else problem)
        self.problem = problem
        self.reason = reason or self.default_reason
        self.field = field
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s

    def at(self, field: str) -> Self:
        """Returns the same error for the field at another path."""
        return type(self)(
            self.problem,
            reason=self.reason,
            field=field,
            metadata=self.metadata,
            retry_after_s=self.retry_after_s,
        )

    def under(self, item: str) -> Self:
        """Returns the same error with its field below an item: `data` under `images[3]` is `images[3].data`."""
        if not self.field:
            return self.at(item)
        return self.at(f"{item}.{self.field}" if not self.field.startswith("[") else f"{item}{self.field}")


class InvalidInput(SensoriumError):
    """The request is wrong as it stands; sending it again does not help."""

    code = 3
    default_reason = Reason.FIELD_INVALID


class NotFound(SensoriumError):
    """The request names a model, version, space or prompt that does not exist; the metadata names those that do."""

    code = 5
    default_reason = Reason.MODEL_NOT_FOUND


class FailedPrecondition(SensoriumError):
    """The request is right but this mesh cannot serve it as it is deployed."""

    code = 9
    default_reason = Reason.SPACES_DIFFER


class Unauthenticated(SensoriumError):
    """The call carries no token, or a bad one."""

    code = 16
    default_reason = Reason.UNAUTHENTICATED


class PermissionDenied(SensoriumError):
    """The token is good but does not allow this call."""

    code = 7
    default_reason = Reason.PERMISSION_DENIED


class Overloaded(SensoriumError):
    """The queue is full, or the tenant is over its quota; nothing was computed."""

    code = 8
    default_reason = Reason.OVERLOADED


class Unavailable(SensoriumError):
    """A service is loading, draining or down; the metadata names it."""

    code = 14
    default_reason = Reason.PEER_UNAVAILABLE


class DeadlineExceeded(SensoriumError):
    """The time that the caller gave is over."""

    code = 4
    default_reason = Reason.DEADLINE_EXCEEDED


class Cancelled(SensoriumError):
    """The caller hung up."""

    code = 1


class InternalError(SensoriumError):
    """A bug of ours. The metadata's `reference` is also in the service's log."""

    code = 13
    default_reason = Reason.INTERNAL


BY_CODE: Mapping[int, type[SensoriumError]] = {
    kind.code: kind
    for kind in (
        InvalidInput,
        NotFound,
        FailedPrecondition,
        Unauthenticated,
        PermissionDenied,
        Overloaded,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        InternalError,
    )
}
