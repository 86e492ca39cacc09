"""Programs of the peers; each runs in the peer's own environment and imports nothing of ours."""
