"""How much of a CPU a file may take to decode, by its pixels or samples; over it, its decoder ends."""

from __future__ import annotations

import signal
import time

# To be looked into, for each pixel or sample, and at most. Codecs take 3 to 40 ns a pixel on the machines that were
# measured; a slower one may take twice as much.
_HEADER_S, _UNIT_S, MOST_S = 0.25, 100e-9, 2.0

_is_bounded = False
_began_s: float | None = None  # in CPU time of this process, when its file was begun


def bound() -> None:
    """Says that this process is a decoder, which may end with its file. Elsewhere nothing is bounded."""
    global _is_bounded  # what a process is, it is for good
    _is_bounded = True
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def allow(units: int) -> None:
    """Gives the file that is being decoded the time of so many pixels or samples, from now on.

    A file of several streams asks for each; all of them have no more than `MOST_S`.
    """
    global _began_s  # of the one file that is being decoded
    if not _is_bounded:
        return
    now_s = time.process_time()
    _began_s = now_s if _began_s is None else _began_s
    left_s = max(_began_s + MOST_S - now_s, 1e-3)  # 0 would be no bound
    signal.setitimer(signal.ITIMER_PROF, min(left_s, _HEADER_S + units * _UNIT_S))


def done() -> None:
    """Says that the file is decoded."""
    global _began_s  # as above
    _began_s = None
    if _is_bounded:
        signal.setitimer(signal.ITIMER_PROF, 0)
