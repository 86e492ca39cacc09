"""The metrics of one peer, whose time series are looked up once."""

from __future__ import annotations

from shared.serving.metrics import Metrics


class PeerMetrics:
    """What a peer's breaker and hedging tell; `peer` is `text`, `vision`, `audio` or `fusion`."""

    def __init__(self, metrics: Metrics, peer: str) -> None:
        """Shows the peer as one without a fault."""
        calls = metrics.peer_calls
        self.answered = calls.labels(peer, "answered").inc
        self.failed = calls.labels(peer, "failed").inc
        self.refused = calls.labels(peer, "refused").inc
        self.state = metrics.peer_breaker_state.labels(peer).set
        self.hedge_won = metrics.peer_hedges.labels(peer, "won").inc
        self.hedge_lost = metrics.peer_hedges.labels(peer, "lost").inc
