"""Hedged calls: one that takes longer than nearly all others is made again, and the first answer counts.

Dean and Barroso, The Tail at Scale, CACM 56(2), 2013, https://doi.org/10.1145/2408776.2408794: "defer sending a
secondary request until the first request has been outstanding for more than the 95th-percentile expected latency".
gRPC's core (1.85) ignores the `hedgingPolicy` of a service config, so it is done here. The channel takes addresses in
turn, so the second call goes to another replica where there is one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sensorium.errors import Overloaded, Unavailable
from services.orchestrator.peer_metrics import PeerMetrics

_T = TypeVar("_T")

_QUANTILE = 0.95
_SAMPLES = 256  # of the latest calls; enough for the quantile to rest on a dozen of them
_LEAST_SAMPLES = 64  # before that nothing is hedged
_EVERY = 16  # calls from one look at the quantile to the next: sorting 256 numbers takes 10 us
_PURSE = 10.0  # most calls that may be hedged one after the other, after many that were not; a guess


class Hedging:
    """Makes calls to one peer, some twice.

    ratio: most second calls, as a share of the first ones.
    """

    def __init__(self, ratio: float, metrics: PeerMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts with nothing known of how long calls take, and an empty purse."""
        self._ratio, self._metrics, self._clock = ratio, metrics, clock
        self._purse = 0.0
        self._taken_s: deque[float] = deque(maxlen=_SAMPLES)
        self._count = 0
        self.delay_s: float | None = None

    async def fastest(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Returns what `attempt` answers, or its second run where that is quicker; the slower one is cancelled.

        Raises:
            SensoriumError: what the first run raises, or the second where the first was turned away.
        """
        self._purse = min(self._purse + self._ratio, _PURSE)
        began = self._clock()
        answer = await (attempt() if self.delay_s is None else self._raced(attempt, self.delay_s))
        self._learn(self._clock() - began)
        return answer

    async def _raced(self, attempt: Callable[[], Awaitable[_T]], delay_s: float) -> _T:
        first = asyncio.ensure_future(attempt())
        tries = [first]
        try:
            await asyncio.wait(tries, timeout=delay_s)
            if first.done() or self._purse < 1:
                return await first
            self._purse -= 1
            second = asyncio.ensure_future(attempt())
            tries.append(second)
            await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
            winner, other = (first, second) if first.done() else (second, first)
            if _was_turned_away(winner):
                await asyncio.wait([other])
                winner = first if _was_turned_away(other) else other
            (self._metrics.hedge_won if winner is second else self._metrics.hedge_lost)()
            return winner.result()
        finally:
            for each in tries:
                each.cancel()
            await asyncio.gather(*tries, return_exceptions=True)

    def _learn(self, seconds: float) -> None:
        """Notes how long a call took; where a second one won, that is less than it would have, but still long."""
        self._taken_s.append(seconds)
        self._count += 1
        if self._count % _EVERY == 0 and len(self._taken_s) >= _LEAST_SAMPLES:
            self.delay_s = sorted(self._taken_s)[int(_QUANTILE * len(self._taken_s))]


def _was_turned_away(attempt: asyncio.Future[_T]) -> bool:
    """Whether a run that is over ended with an error that the other need not meet."""
    return isinstance(attempt.exception(), Unavailable | Overloaded)
