"""What a servicer can know of the call it answers: its deadline, its id, its priority, what to pass on to peers."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import grpc.aio
from opentelemetry import propagate

from sensorium.errors import InvalidInput, Reason

if TYPE_CHECKING:
    from shared.serving.items import CallItems

_PRIORITIES = ("interactive", "batch")


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the interceptor saw it arrive.

    deadline: in seconds of `time.monotonic()`; infinite for a stream whose caller set none.
    default_deadline_s: what each message of such a stream gets.
    stated_priority: what the caller's `x-priority` said.
    tenant: for whom it is, where tokens say so.
    peer: from where it comes, as gRPC says it.
    items: what counts its items; None outside of a server.
    """

    method: str
    request_id: str
    deadline: float
    stated_priority: str = "interactive"
    default_deadline_s: float = 30.0
    authorization: str = field(default="", repr=False)  # a secret
    tenant: str = ""
    peer: str = ""
    items: CallItems | None = field(default=None, repr=False, compare=False)

    @property
    def priority(self) -> Literal["interactive", "batch"]:
        """Which lane of every queue the call's work takes."""
        return "batch" if self.stated_priority == "batch" else "interactive"

    def remaining_s(self) -> float:
        """Returns the seconds until the deadline, never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def item_deadline(self) -> float:
        """Returns the deadline of work that starts now: that of the call, or of one message of an endless stream."""
        return self.deadline if self.deadline < math.inf else time.monotonic() + self.default_deadline_s

    def outgoing(self) -> Sequence[tuple[str, str]]:
        """Returns the metadata that calls to peers carry: request id, priority, trace context, token."""
        carrier: dict[str, str] = {"x-request-id": self.request_id, "x-priority": self.priority}
        if self.authorization:
            carrier["authorization"] = self.authorization
        propagate.inject(carrier)
        return tuple(carrier.items())


# The one global of the server side: a context variable is how asyncio hands facts about a call down to its servicer.
_CURRENT: ContextVar[Call] = ContextVar("sensorium_call")


def current_call() -> Call:
    """Returns the call that the running servicer answers.

    Raises:
        LookupError: no call is being answered here.
    """
    return _CURRENT.get()


def caller() -> str:
    """Returns for whom the running call is: its tenant, or else the address that it comes from; "" without a call."""
    call = _CURRENT.get(None)
    return "" if call is None else call.tenant or call.peer.rpartition(":")[0]


def enter_call(call: Call) -> None:
    """Makes `call` the current one for the running task."""
    _CURRENT.set(call)


def read_call(
    method: str, context: grpc.aio.ServicerContext[Any, Any], default_deadline_s: float, *, is_stream: bool
) -> Call:
    """Returns the call of a context (Any: of whatever messages); `check_call` refuses what is wrong with it."""
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    remaining_s = context.time_remaining()
    if remaining_s is None:
        remaining_s = math.inf if is_stream else default_deadline_s  # type: ignore[unreachable]  # stub: None = none set
    return Call(
        method=method,
        request_id=_printable(metadata.get("x-request-id", ""))
        or f"{random.getrandbits(128):032x}",  # an id, no secret
        deadline=time.monotonic() + remaining_s,
        stated_priority=metadata.get("x-priority", "interactive").lower(),
        default_deadline_s=default_deadline_s,
        authorization=metadata.get("authorization", ""),
        peer=context.peer() or "",
    )


def check_call(call: Call) -> None:
    """Refuses what metadata can get wrong.

    Raises:
        InvalidInput: `x-priority` is neither `interactive` nor `batch`.
    """
    if call.stated_priority not in _PRIORITIES:
        raise InvalidInput(
            f"is {call.stated_priority[:40]!r}; give interactive or batch",
            reason=Reason.FIELD_INVALID,
            field="x-priority",
        )


def _printable(text: str) -> str:
    """Returns a caller's id fit for logs: at most 128 visible ASCII characters."""
    return "".join(character for character in text[:128] if "!" <= character <= "~")
