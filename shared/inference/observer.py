"""Who hears what a model's scheduler does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Observer(Protocol):
    """Hears what a scheduler does; metrics in production."""

    def batch_done(
        self, *, items: int, real_cost: int, padded_cost: int, queue_s: Sequence[float], inference_s: float
    ) -> None:
        """A batch was computed."""

    def prepared(self, seconds: float) -> None:
        """An input was preprocessed."""

    def item_failed(self, reason: str) -> None:
        """An input was refused or failed."""

    def dropped(self, reason: str, count: int = 1) -> None:
        """Rows were not computed: `full`, `expired` or `cancelled`."""

    def queue_changed(self, priority: str, items: int, cost: int) -> None:
        """The queue of one priority grew or shrank."""

    def retired(self) -> None:
        """The model takes no new calls; those that run may still end."""
