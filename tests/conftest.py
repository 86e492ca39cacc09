"""Runs `async def` tests, each in a loop of its own, bounded in time."""

from __future__ import annotations

import asyncio
import inspect

import pytest

_MOST_S = 30.0  # a test that hangs fails; none needs a second


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}

    async def bounded() -> None:
        async with asyncio.timeout(_MOST_S):
            await pyfuncitem.obj(**arguments)

    asyncio.run(bounded())
    return True
