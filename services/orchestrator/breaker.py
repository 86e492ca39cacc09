"""The circuit breaker of a peer: while no call to it is answered, further ones are refused at once.

closed ──(`failures` calls in a row failed, over 1 s)──▶ open ──(1 s)──▶ half-open: one call may try
   ▲                                                      ▲                    │
   └───────────────────(it was answered)──────────────────┴───(it failed)──────┘

A peer is a name with any number of replicas behind it, and a bad one among them must not cost the others their calls.
Calls go to them in turn, so one good replica ends every row well within the second; the channel's retries and ejection
keep clear of the bad ones (see `sensorium.balancing`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from enum import IntEnum

from sensorium.errors import DeadlineExceeded, InternalError, Reason, SensoriumError, Unavailable
from services.orchestrator.peer_metrics import PeerMetrics

LASTING_S = 1.0  # how long a row of failures must last; a guess, short against a deadline
OPEN_S = 1.0  # a channel reconnects within a second
# A caller who gave less time than this learns nothing of the peer when it is over. A guess.
_FAIR_S = 0.5
_LEAST_RETRY_S = 0.1


class State(IntEnum):
    """Whether calls go out; the values are those of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Lets calls to one peer out, or does not."""

    def __init__(self, failures: int, metrics: PeerMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts closed; `failures` is how many calls in a row must fail, over 1 s at least; 0 never opens it."""
        self._failures, self._metrics, self._clock = failures or math.inf, metrics, clock
        self._failed_count = 0  # since a call was answered
        self._failing_since = 0.0
        self._opens_at = 0.0  # when the next call may try
        self._is_tried = False
        self._why = ""
        self.state = State.CLOSED

    @property
    def problem(self) -> str:
        """Why calls are refused; empty where they are not."""
        return "" if self.state is State.CLOSED else self._why

    @contextlib.contextmanager
    def guarding(self, had_s: float) -> Iterator[None]:
        """Lets one call out, made in the block, and learns from how it ends; `had_s` is the time it is given.

        Raises:
            Unavailable: the breaker is open; nothing was sent.
        """
        is_probe = self._enter()
        began = self._clock()
        answered: bool | None = None
        try:
            yield
            answered = True
        except SensoriumError as error:
            answered = _told(error, had_s)
            self._note(answered, error.problem)
            raise
        except asyncio.CancelledError:
            if self._clock() - began >= had_s >= _FAIR_S:  # the time was over, which may come to us as this
                answered = False
                self._note(answered, "no answer came in time")
            raise
        else:
            self._note(answered, "")
        finally:
            if is_probe:
                self._tried(answered)

    def try_soon(self) -> None:
        """Lets the next call try: the peer said that it serves."""
        self._opens_at = self._clock()

    def _enter(self) -> bool:
        """Returns whether the call is the one that tries."""
        if self.state is State.CLOSED:
            return False
        wait_s = self._opens_at - self._clock()
        if wait_s <= 0 and not self._is_tried:
            self._is_tried = True
            self._set(State.HALF_OPEN)
            return True
        self._metrics.refused()
        raise Unavailable(self._why, retry_after_s=max(wait_s, _LEAST_RETRY_S))

    def _tried(self, answered: bool | None) -> None:
        self._is_tried = False
        if answered is False:
            self._open()
        elif answered:
            self._set(State.CLOSED)

    def _note(self, answered: bool | None, problem: str) -> None:
        """Counts a call; None: it tells nothing of the peer."""
        if answered is None:
            return
        if answered:
            self._metrics.answered()
            self._failed_count = 0
            return
        self._metrics.failed()
        now = self._clock()
        self._failing_since = self._failing_since if self._failed_count else now
        self._failed_count += 1
        lasted_s = now - self._failing_since
        if self.state is State.CLOSED and self._failures <= self._failed_count and lasted_s >= LASTING_S:
            self._why = (
                f"the last {self._failed_count} calls failed, over {lasted_s:.1f} s, the last with: {problem}; "
                f"until one is answered, one is sent every {OPEN_S:g} s and the others are refused"
            )
            self._open()

    def _open(self) -> None:
        self._opens_at = self._clock() + OPEN_S
        self._set(State.OPEN)

    def _set(self, state: State) -> None:
        self.state = state
        self._metrics.state(state)


def _told(error: SensoriumError, had_s: float) -> bool | None:
    """Returns whether an error is the answer of a peer that works; None where it says nothing of that."""
    match error:
        case Unavailable():  # a model that is just loaded is one of several
            return None if error.reason is Reason.LOADING else False
        case DeadlineExceeded():
            return False if had_s >= _FAIR_S else None
        case InternalError():  # with a reference it is a bug that one input met; without, no answer of ours at all
            return "reference" in error.metadata
    return True
