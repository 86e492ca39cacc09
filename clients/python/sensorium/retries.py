"""Tries again what a server refused for now, when the server said to.

This is the slow half of second tries. The quick one is the channel's (`sensorium.balancing`): it gets a call past a
replica that is going, within 0.15 s. This one begins where that has given up, and only where a `RetryInfo` says when.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sensorium.errors import Overloaded, SensoriumError, Unavailable

MAX_TRIES = 4  # the first among them; a guess: a full queue has room again after one or two waits

# What is added to the wait, as a share of it, so that those who were refused together do not come back together. It is
# never less than the server said. A guess.
_JITTER = 0.5

_Answer = TypeVar("_Answer")


def retry_delay_s(error: SensoriumError, tries: int, max_tries: int) -> float | None:
    """Returns how long to wait before the next try; None where there is to be none.

    tries: how many there were. max_tries: how many there may be.
    """
    if tries >= max_tries or not isinstance(error, Overloaded | Unavailable) or error.retry_after_s is None:
        return None
    return max(0.0, error.retry_after_s) * random.uniform(1.0, 1.0 + _JITTER)  # noqa: S311  # no secret


async def persistently(
    attempt: Callable[[float | None], Awaitable[_Answer]], timeout_s: float | None, max_tries: int
) -> _Answer:
    """Returns what an attempt does, the last of at most `max_tries`.

    attempt: is given what is left of `timeout_s`, in seconds; None is for ever.

    Raises:
        SensoriumError: the last refusal; at once where the wait for another try would outlast `timeout_s`.
    """
    began = time.monotonic()
    for tries in itertools.count(1):
        left_s = None if timeout_s is None else timeout_s - (time.monotonic() - began)
        try:
            return await attempt(left_s)
        except (Overloaded, Unavailable) as error:
            wait_s = retry_delay_s(error, tries, max_tries)
            if wait_s is None or (timeout_s is not None and time.monotonic() - began + wait_s >= timeout_s):
                raise
        await asyncio.sleep(wait_s)
    raise AssertionError("unreachable: the count has no end")
