"""The text encoder as a runtime of MLServer."""

from __future__ import annotations

import sys

sys.path.insert(0, __file__.rpartition("/")[0])
from encoder import open_encoder  # type: ignore[import-not-found]  # beside this file, in the peer's environment
from mlserver import MLModel  # type: ignore[import-not-found]  # of the peer's environment
from mlserver.codecs import NumpyCodec, StringCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]


class TextEncoder(MLModel):  # type: ignore[misc]  # its type is not known here
    """BYTES (n, 1) in, FP32 (n, dim) out."""

    async def load(self) -> bool:
        """Loads the model."""
        self._encode = open_encoder(self.settings.parameters.uri, "text")
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Runs in the server's loop, or in that of a worker process, as MLServer has it."""
        texts = StringCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("vectors", self._encode([text.encode() for text in texts]))
        return InferenceResponse(model_name=self.name, outputs=[output])
