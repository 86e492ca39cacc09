"""What becomes of a fault that is ours."""

from __future__ import annotations

import logging
import uuid

from sensorium.errors import InternalError

_log = logging.getLogger("sensorium.inference")


def as_bug(cause: Exception) -> InternalError:
    """Returns what a caller is told of a fault that is ours; the traceback goes to the log under the same reference."""
    reference = uuid.uuid4().hex[:12]
    _log.error("a bug", exc_info=cause, extra={"f": {"reference": reference}})
    return InternalError(f"internal error; its reference is {reference}", metadata={"reference": reference})
