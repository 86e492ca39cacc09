"""Waits for a condition, bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LOOK_EVERY_S = 0.01


async def until(is_so: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Returns once a condition holds; raises TimeoutError where it does not come to."""
    async with asyncio.timeout(timeout_s):
        while not is_so():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(_LOOK_EVERY_S)
