"""The stages that a call's items went through, as spans of its trace."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.errors import SensoriumError
from shared.inference.encoded import Encoded
from shared.serving.spans import is_traced, stage_span


def trace_stages(model: str, answers: Sequence[Encoded | SensoriumError]) -> None:
    """Notes preprocessing, queue and inference of what was computed, each from its first begin to its last end.

    model: `name@version`.
    """
    if not is_traced():
        return
    computed = [answer for answer in answers if isinstance(answer, Encoded) and not answer.is_cached]
    if not computed:
        return
    facts: dict[str, str | int] = {"sensorium.model": model, "sensorium.items": len(computed)}
    batch_size = max(answer.batch_size for answer in computed)
    ran = [answer.ended_ns - answer.inference_ns for answer in computed]
    queued = [began - answer.queue_ns for began, answer in zip(ran, computed, strict=True)]
    prepared = [began - answer.preprocess_ns for began, answer in zip(queued, computed, strict=True)]
    stage_span("preprocess", min(prepared), max(queued), facts)
    stage_span("queue", min(queued), max(ran), facts)
    ended = max(answer.ended_ns for answer in computed)
    stage_span("inference", min(ran), ended, facts | {"sensorium.batch_size": batch_size})
