"""The orchestrator of `test_sdk`, for the client that waits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.clients.test_sdk import serving


@pytest.fixture
def address() -> Iterator[str]:
    """Where the orchestrator answers, on a loop in a thread."""
    loop, stack = asyncio.new_event_loop(), contextlib.AsyncExitStack()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    _, at = asyncio.run_coroutine_threadsafe(stack.enter_async_context(serving()), loop).result(10)
    yield at
    asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
