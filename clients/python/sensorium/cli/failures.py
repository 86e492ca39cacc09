"""What a command ends with: exit codes, and one line on stderr for each thing that went wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from sensorium.errors import Cancelled, DeadlineExceeded, Overloaded, SensoriumError, Unavailable

OK, SOME_FAILED, USAGE, UNAVAILABLE, REFUSED = range(5)

EXIT_CODES = (
    "[bold]Exit codes[/bold]: 0 done; 1 some items failed, the others are in the output; 2 wrong usage; "
    "3 the mesh cannot be reached, is overloaded or was too slow: try again; 4 the request was refused."
)


class UsageFault(Exception):
    """The command was called wrongly; the message says what to write instead."""


def say(problem: object) -> None:
    """Prints one complaint on stderr."""
    print(f"sensorium: {problem}", file=sys.stderr)


def code_of(error: SensoriumError) -> int:
    """Returns the exit code of a call that failed as a whole."""
    worth_another_try = (Unavailable, DeadlineExceeded, Overloaded, Cancelled)
    return UNAVAILABLE if isinstance(error, worth_another_try) else REFUSED


def code_of_items(count: int, errors: Iterable[SensoriumError]) -> int:
    """Returns the exit code of a call with `count` items: where all failed alike, that of their failure."""
    codes = [code_of(error) for error in errors]
    if not codes:
        return OK
    return codes[0] if len(codes) == count and len(set(codes)) == 1 else SOME_FAILED
