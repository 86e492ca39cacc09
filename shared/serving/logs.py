"""Logs as JSON, one object a line on stderr."""

from __future__ import annotations

import itertools
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any, TextIO

from opentelemetry import trace

_EVERY_S = 1.0  # between lines that are thinned

# What a line may have of one text, of a traceback, and of one field with all that is nested in it, in characters; how
# many elements of a list or an object, and how deep. Errors carry what callers wrote, so a line would else be as long
# as a caller likes.
_MOST_CHARACTERS, _MOST_TRACE, _MOST_FIELD, _MOST_ELEMENTS, _MOST_DEPTH = 500, 20_000, 25_000, 50, 4
_LEAST_SHARE = 10  # of a field's characters that an element gets; so many elements are kept as get it

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: time, level, service, message, and the facts in `extra={"f": …}`.

    Where a call is traced, its lines carry the trace's id and the span's.
    """

    def __init__(self, service: str) -> None:
        """Keeps the service's name, which every line carries."""
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, without its end."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "message": _cut_text(record.getMessage(), _MOST_CHARACTERS),
            **{name: _cut(value) for name, value in getattr(record, "f", {}).items()},
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line |= {"trace_id": trace.format_trace_id(span.trace_id), "span_id": trace.format_span_id(span.span_id)}
        if record.exc_info:
            line["traceback"] = _cut_text(self.formatException(record.exc_info), _MOST_TRACE)
        return _ENCODER.encode(line)


def _cut(value: Any, room: int = _MOST_FIELD, depth: int = 0) -> Any:
    """Returns a value (Any: whatever was logged) without what is beyond the bounds of a line; says how much went.

    room: characters for it and all that is nested in it; elements share it, or bounds would multiply with each level.
    """
    if isinstance(value, int | float | None):
        return value
    is_many = isinstance(value, Mapping | Sequence | Set) and not isinstance(value, str | bytes)
    if not is_many or depth >= _MOST_DEPTH:
        return _cut_text(str(value), min(room, _MOST_CHARACTERS))
    kept = min(len(value), _MOST_ELEMENTS, room // _LEAST_SHARE)
    share = room // max(kept, 1)
    if isinstance(value, Mapping):
        some = itertools.islice(value.items(), kept)
        return {_cut_text(str(key), min(share, _MOST_CHARACTERS)): _cut(each, share, depth + 1) for key, each in some}
    return [_cut(each, share, depth + 1) for each in itertools.islice(value, kept)]


def _cut_text(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text) - most} characters more)" if most >= _MOST_CHARACTERS else f"{text[:most]}…"


class Thinned:
    """Thins out lines that may come by the thousands: one a second of each kind, with the number of those unsaid."""

    def __init__(self) -> None:
        """Has seen none yet."""
        self._said: dict[str, tuple[float, int]] = {}  # by kind: when the last one was said, how many came since

    def unsaid(self, kind: str) -> int | None:
        """Returns how many lines of a kind were left out before this one; None where it is left out too."""
        now = time.monotonic()
        last, count = self._said.get(kind, (-_EVERY_S, 0))
        is_due = now - last >= _EVERY_S
        self._said[kind] = (now, 0) if is_due else (last, count + 1)
        return count if is_due else None


def set_up_logging(service: str, level: str, stream: TextIO | None = None) -> None:
    """Sends the log of this process to stderr (or `stream`) as JSON. Called once, by a program's `main`.

    Raises:
        ValueError: the level is none of logging's.
    """
    # None of these is in a line; they are a third of what one costs (see "Optimization" in logging's own guide).
    logging._srcfile = None  # noqa: SLF001  # the documented switch
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
