"""An encoder on LitServe. Arguments: folder, kind, port, workers, batch, wait_ms."""

from __future__ import annotations

import base64
import sys
from typing import Any

sys.path.insert(0, __file__.rpartition("/")[0])
import litserve  # type: ignore[import-not-found]  # of the peer's environment
from encoder import open_encoder  # type: ignore[import-not-found]  # beside this file, in the peer's environment

FOLDER, KIND = sys.argv[1:3]
PORT, WORKERS, BATCH, WAIT_MS = map(int, sys.argv[3:7])


class Encoder(litserve.LitAPI):  # type: ignore[misc]  # its type is not known here
    """JSON in, with a text or the base64 of a JPEG; base64 of float32 in JSON out."""

    def setup(self, device: str) -> None:
        """Loads the model in the worker's process."""
        self._encode = open_encoder(FOLDER, KIND)

    def decode_request(self, request: dict[str, str]) -> bytes:
        """Returns the text or the file."""
        given = request["input"]
        return base64.b64decode(given) if KIND == "image" else given.encode()

    def predict(self, given: Any) -> Any:
        """Returns a row, or rows in order. Any: one input, or a list where batches are on."""
        return self._encode([given])[0] if BATCH == 1 else self._encode(list(given))

    def encode_response(self, output: Any) -> dict[str, str]:
        """Returns the answer. Any: an array."""
        return {"vector": base64.b64encode(output.tobytes()).decode()}


if __name__ == "__main__":
    api = Encoder(max_batch_size=BATCH, batch_timeout=WAIT_MS / 1000)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, timeout=30)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning", access_log=False)
