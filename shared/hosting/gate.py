"""Tells the server side what the models' queues know: whether there is room for another call."""

from __future__ import annotations

from typing import Any

from shared.hosting.repository import Repository
from shared.serving.call import Call
from shared.serving.open_inference.models import INFER

# To parse and hash so much takes about half a millisecond, twice what a refusal costs in gRPC.
_OPEN_BYTES = 1 << 20


class QueueGate:
    """Guards the calls of one service by the queues of its models; see `shared.serving.gate.Gate`.

    Which model a call wants stands in its request, which is not read yet. So a call is refused only where every model
    would refuse it, and what the queue of its own model says comes later, behind the cache: which has the answers of
    every small request read and looked at, and those of a larger one where there is room.
    """

    def __init__(self, service: str, repository: Repository[Any], *, has_cache: bool) -> None:
        """Takes the full name of the service, its models (Any: of whatever inputs), whether their vectors are kept."""
        self.open_bytes = _OPEN_BYTES if has_cache else -1
        self._prefixes = (f"/{service}/", INFER)
        self._repository = repository

    def guards(self, method: str) -> bool:
        """Whether it is a call of the service, or one of the Open Inference Protocol that runs a model."""
        return method.startswith(self._prefixes)

    @property
    def is_crowded(self) -> bool:
        """Whether every model has long queues."""
        encoders = self._repository.encoders
        return bool(encoders) and all(encoder.admission.is_crowded for encoder in encoders)

    def check(self, call: Call) -> None:
        """Raises Overloaded where no model has room for one more item in the call's time."""
        queues = [encoder.admission for encoder in self._repository.encoders]
        if queues and all(queue.refusal(1, call.deadline, call.priority) is not None for queue in queues):
            queues[0].check(1, call.deadline, call.priority)
