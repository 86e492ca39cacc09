"""Logs as JSON, one object a line on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import TextIO

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: time, level, service, message, and the facts in `extra={"f": …}`."""

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
            "message": record.getMessage(),
            **getattr(record, "f", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _ENCODER.encode(line)


def set_up_logging(service: str, level: str, stream: TextIO | None = None) -> None:
    """Sends the log of this process to stderr (or `stream`) as JSON. Called once, by a program's `main`.

    Raises:
        ValueError: the level is none of logging's.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # gRPC's core writes lines that are no JSON
    # None of these is in a line; they are a third of what one costs (see "Optimization" in logging's own guide).
    logging._srcfile = None  # noqa: SLF001  # the documented switch
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
