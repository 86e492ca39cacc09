"""Sums up what a composed call cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sensorium.v1.embedding_pb2 import Receipt


def receipt(parts: Iterable[Receipt], total_ns: int) -> Receipt:
    """Returns the receipt of a call that took `total_ns`, with one part for each model that took part."""
    merged = _by_model(parts)
    whole = _summed(merged)
    whole.total_ns = total_ns
    if len(merged) == 1:
        whole.model, whole.version, whole.fingerprint = _identity(merged[0])
    whole.parts.extend(merged)
    return whole


def _by_model(parts: Iterable[Receipt]) -> list[Receipt]:
    """Returns one receipt a model: a call that was sent on in several batches has one of each batch."""
    groups: dict[tuple[str, str, str], list[Receipt]] = {}
    for part in parts:
        groups.setdefault(_identity(part), []).append(part)
    return [batches[0] if len(batches) == 1 else _merged(batches) for batches in groups.values()]


def _merged(batches: Sequence[Receipt]) -> Receipt:
    merged = _summed(batches)
    merged.model, merged.version, merged.fingerprint = _identity(batches[0])
    merged.total_ns = max(batch.total_ns for batch in batches)  # they ran side by side
    return merged


def _identity(part: Receipt) -> tuple[str, str, str]:
    return part.model, part.version, part.fingerprint


def _summed(parts: Sequence[Receipt]) -> Receipt:
    return Receipt(
        preprocess_ns=sum(part.preprocess_ns for part in parts),
        queue_ns=max((part.queue_ns for part in parts), default=0),
        inference_ns=max((part.inference_ns for part in parts), default=0),
        token_count=sum(part.token_count for part in parts),
        pixel_count=sum(part.pixel_count for part in parts),
        audio_ms=sum(part.audio_ms for part in parts),
        batch_size=max((part.batch_size for part in parts), default=0),
        cache_hit_count=sum(part.cache_hit_count for part in parts),
    )
