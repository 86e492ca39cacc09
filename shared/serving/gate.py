"""Refuses calls before their requests are read, where it is known that there is no room for them.

To parse and prepare a request only to refuse it costs an overloaded server more than the refusal itself, megabytes of
sound above all. So while a queue is crowded, calls are answered by handlers that ask first. What a cache may have the
answer to is parsed all the same where it is small, since a call that costs nothing is not refused.
"""

from __future__ import annotations

from typing import Protocol

from shared.serving.call import Call


class Gate(Protocol):
    """Knows whether there is room.

    open_bytes: requests of at most so many bytes come in unasked; what they really bring is refused where it is known.
    """

    open_bytes: int

    def guards(self, method: str) -> bool:
        """Whether calls of a method take room, by its full name (`/sensorium.v1.TextEncoderService/EncodeText`)."""

    @property
    def is_crowded(self) -> bool:
        """Whether calls are likely to be refused; asked at every call, so it must cost next to nothing."""

    def check(self, call: Call) -> None:
        """Refuses a call that there is no room for.

        Raises:
            Overloaded: with when to come back.
        """
