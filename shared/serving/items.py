"""Counts the items of calls: how many came, and which of them failed, each with who is to blame.

A call that is OK may hold items that failed, and a call that failed takes all of its items with it. So what users feel
is counted in items: alerts rest on these numbers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

from google.rpc import status_pb2

from sensorium.errors import DeadlineExceeded, SensoriumError
from sensorium.status import to_status
from shared.serving.call import Call, current_call
from shared.serving.metrics import Metrics, Typical
from shared.serving.statuses import code_name

Fault = Literal["service", "caller", "load"]

_OURS = ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED")


class CallItems:
    """The items of one call.

    failed_count: how many failed inside of an answer.
    """

    def __init__(self, metrics: Metrics, typical: Typical, given_s: float) -> None:
        """Takes where to count, what calls of this method take, and the seconds that this caller gives."""
        self._metrics, self._typical, self._given_s = metrics, typical, given_s
        self._came = 0
        self.failed_count = 0

    def came(self, count: int) -> None:
        """Counts items that the caller brought."""
        self._came += count
        self._metrics.call_items.inc(count)

    def failed(self, error: SensoriumError) -> None:
        """Counts one item whose answer is an error."""
        self.failed_count += 1
        self._count(error, 1)

    def ended(self, error: SensoriumError | None, seconds: float) -> None:
        """Notes how the whole call ended; one that failed takes the items with it that had not failed before."""
        if not self._came:
            self.came(1)
        if error is None:
            self._typical.took(seconds)
        elif self._came > self.failed_count:
            self._count(error, self._came - self.failed_count)

    def _count(self, error: SensoriumError, count: int) -> None:
        service = error.metadata.get("service", "") or self._metrics.service
        self._metrics.item_errors.labels(service, code_name(error), self._fault(error)).inc(count)

    def _fault(self, error: SensoriumError) -> Fault:
        if isinstance(error, DeadlineExceeded) and self._typical.is_too_short(self._given_s):
            return "caller"
        code = code_name(error)
        return "service" if code in _OURS else "load" if code == "RESOURCE_EXHAUSTED" else "caller"


async def counted(requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
    """Yields the requests of a stream (Any: of whatever messages), each counted as one item."""
    async for request in requests:
        came(call, 1)
        yield request


def came(call: Call, count: int) -> None:
    """Counts items that a call brought."""
    if call.items is not None:
        call.items.came(count)


def failed_item(error: SensoriumError) -> status_pb2.Status:
    """Returns the error of one item as it stands in an answer, and counts it; see the module."""
    items = current_call().items
    if items is not None:
        items.failed(error)
    return to_status(error)
