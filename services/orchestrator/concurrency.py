"""Runs things side by side, every task with an owner."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def run_all(*running: Coroutine[Any, Any, _T]) -> list[_T]:
    """Runs coroutines side by side; returns their results in the order given. Any: what coroutines yield and are sent.

    Raises:
        Exception: the first that one of them raised, as it was; the others are cancelled and awaited.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in running]
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from None
    return [task.result() for task in tasks]


def first_cause(failure: BaseException) -> BaseException:
    """Returns the first plain exception of a group, which no `except` for a plain one would match."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


@contextlib.asynccontextmanager
async def background(running: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Runs a coroutine beside the block and cancels it at the block's end. Any: as in `run_all`.

    Raises:
        Exception: what the block or the coroutine raised, as it was; the other is cancelled and awaited.
    """
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(running)
            try:
                yield
            finally:
                task.cancel()
    except BaseExceptionGroup as failures:
        raise first_cause(failures) from None
