"""Shares threads out among callers: whoever brings most waits longest, and nobody waits for all of another's work."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

_Result = TypeVar("_Result")
_Given = TypeVarTuple("_Given")


def _nobody() -> str:
    return ""


class FairPool:
    """A pool of threads whose free ones go to the caller that has the fewest busy; among equals, in turn.

    pool: of at least `workers` threads. Nothing else should run in it.
    caller: returns whose work it is that is being submitted; anything that tells callers apart.

    All state lives on the event loop.
    """

    def __init__(self, pool: Executor, workers: int, caller: Callable[[], str] = _nobody) -> None:
        """Starts nothing."""
        self._pool, self._workers, self._caller = pool, workers, caller
        self._busy: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # none of them empty; the next in turn first

    async def run(self, do: Callable[[*_Given], _Result], *given: *_Given) -> _Result:
        """Returns what a function returns in a thread; cancelling gives up the wait, not what runs."""
        caller = self._caller()
        if self._busy.total() >= self._workers or self._waiting:
            await self._turn(caller)
        else:
            self._busy[caller] += 1
        try:
            running = self._pool.submit(do, *given)
        except BaseException:
            self._ended(caller)
            raise
        running.add_done_callback(partial(self._tell, asyncio.get_running_loop(), caller))
        return await asyncio.wrap_future(running)

    async def _turn(self, caller: str) -> None:
        """Waits for a thread, which is the caller's when this returns."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._ended(caller)  # it had come just now
            raise

    def _tell(self, loop: asyncio.AbstractEventLoop, caller: str, _: Future[Any]) -> None:
        """Hands the end of a job over to the event loop, if that still runs."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._ended, caller)

    def _ended(self, caller: str) -> None:
        self._busy[caller] -= 1
        if not self._busy[caller]:
            del self._busy[caller]
        while self._waiting and self._busy.total() < self._workers:
            self._give(min(self._waiting, key=lambda each: self._busy[each]))

    def _give(self, caller: str) -> None:
        """Gives a thread to the first that waits of a caller, who is the last in turn then."""
        line = self._waiting.pop(caller)
        turn = line.popleft()
        if line:
            self._waiting[caller] = line
        if not turn.done():
            self._busy[caller] += 1
            turn.set_result(None)
