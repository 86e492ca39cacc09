"""Reads requests so that what cannot be read gets an answer that says why, where gRPC would say INTERNAL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from sensorium.errors import InvalidInput, Reason, SensoriumError

# Any below: of whatever messages.


class Unreadable:
    """Stands in for a request that must not reach a servicer, and says why."""

    def __init__(self, error: SensoriumError) -> None:
        """Keeps why."""
        self.error = error


def reading(deserialize: Callable[[bytes], Any], max_bytes: int) -> Callable[[bytes], Any]:
    """Returns what reads a message, or says why it cannot be read, of at most so many bytes."""

    def read(data: bytes) -> Any:
        if len(data) > max_bytes:
            return Unreadable(
                InvalidInput(
                    f"the request has {len(data)} bytes, over the limit of {max_bytes}; send fewer items in a call",
                    reason=Reason.MESSAGE_TOO_LARGE,
                    metadata={"limit": str(max_bytes), "size": str(len(data))},
                )
            )
        try:
            return deserialize(data)
        except Exception:  # noqa: BLE001  # protobuf has no common error; whatever it is, the bytes are at fault
            return Unreadable(InvalidInput("the request is not a message of this method; is the client's proto ours?"))

    return read


async def readable(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Yields the requests of a stream; raises the error of one that cannot be read."""
    async for request in requests:
        if isinstance(request, Unreadable):
            raise request.error
        yield request
