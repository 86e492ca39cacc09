"""How much of a CPU a file may take to decode, by its pixels or samples; over it, its decoder ends."""

from __future__ import annotations

import signal

# To be looked into, for each pixel or sample, and at most. Codecs take 3 to 40 ns a pixel on the machines that were
# measured; a slower one may take twice as much.
_HEADER_S, _UNIT_S, MOST_S = 0.25, 100e-9, 2.0

_is_bounded = False


def bound() -> None:
    """Says that this process is a decoder, which may end with its file. Elsewhere nothing is bounded."""
    global _is_bounded  # what a process is, it is for good
    _is_bounded = True
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def allow(units: int) -> None:
    """Gives the file that is being decoded the time of so many pixels or samples, from now on."""
    if _is_bounded:
        signal.setitimer(signal.ITIMER_PROF, min(MOST_S, _HEADER_S + units * _UNIT_S))


def done() -> None:
    """Says that the file is decoded."""
    if _is_bounded:
        signal.setitimer(signal.ITIMER_PROF, 0)
