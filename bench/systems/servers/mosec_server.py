"""An encoder on mosec; `BENCH` holds folder, kind, workers, batch and wait_ms: flags are mosec's own."""

from __future__ import annotations

import os
import sys
from typing import Any

sys.path.insert(0, __file__.rpartition("/")[0])
from encoder import open_encoder  # type: ignore[import-not-found]  # beside this file, in the peer's environment
from mosec import Server, Worker  # type: ignore[import-not-found]  # of the peer's environment

FOLDER, KIND, *_NUMBERS = os.environ["BENCH"].split("|")
WORKERS, BATCH, WAIT_MS = map(int, _NUMBERS)


class Encoder(Worker):  # type: ignore[misc]  # its type is not known here
    """UTF-8 or JPEG in, float32 bytes out: the cheapest that mosec can carry."""

    def __init__(self) -> None:
        """Loads the model in the worker's process."""
        self._encode = open_encoder(FOLDER, KIND)

    def deserialize(self, data: bytes) -> bytes:
        """Returns the body as it came."""
        return data

    def serialize(self, data: Any) -> bytes:
        """Returns the vector's bytes. Any: an array."""
        return bytes(data.tobytes())

    def forward(self, data: Any) -> Any:
        """Returns a row, or rows in order. Any: one input, or a list where batches are on."""
        return self._encode([data])[0] if BATCH == 1 else list(self._encode(data))


if __name__ == "__main__":
    server = Server()
    server.append_worker(Encoder, num=WORKERS, max_batch_size=BATCH, max_wait_time=WAIT_MS)
    server.run()
