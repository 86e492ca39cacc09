"""Wires the text service together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from sensorium.v1 import model_pb2, text_pb2, text_pb2_grpc
from services.text.config import Config
from services.text.open_inference import native
from services.text.preprocess import Text, TextNumbers, TextPreprocessor
from services.text.servicer import TextServicer
from shared.hosting.host import Host, Program, hosting
from shared.inference.cache import Identity
from shared.inference.encoder import Encoder
from shared.inference.model import Model
from shared.inference.package import Package
from shared.inference.providers import Execution
from shared.serving.server import Running, run

_SERVICE = text_pb2.DESCRIPTOR.services_by_name["TextEncoderService"].full_name

# What fills every array but the ids beyond a text's own length.
_ZEROS = ("attention_mask", "token_type_ids", "position_ids", "pooling_mask")

# Characters that are tokenized in less than the 60 microseconds that the way to a thread and back takes.
_SHORT = 150

# A short text is tokenized in 0.1 ms: a thread job for each would cost more than the work.
_TEXTS_PER_JOB = 32


_IDENTITY: Identity[Text] = Identity(
    lambda text: (text.prompt.encode(), text.text.encode(), bytes([text.truncate])),
    lambda text: len(text.prompt) + len(text.text),
)


@contextlib.asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Running]:
    """Serves until the block is left; raises SensoriumError or OSError where it cannot start."""
    program = Program(
        name="text",
        service=_SERVICE,
        limits=model_pb2.Limits(max_item_bytes=config.max_text_bytes),
        accepts=lambda manifest: manifest.modality == "text",
        open_encoder=lambda package, shared: open_encoder(package, config, shared),
        add=lambda models, server: text_pb2_grpc.add_TextEncoderServiceServicer_to_server(
            TextServicer(models, config.server.max_items), server
        ),
        native=lambda models: native(models, config.server.max_items),
    )
    async with hosting(program, config.server, config.hosting) as running:
        yield running


def open_encoder(package: Package, config: Config, shared: Host) -> Encoder[Text]:
    """Returns one package ready to serve, warmed up; raises FailedPrecondition where it does not fit."""
    preprocessor = TextPreprocessor(package, config.max_text_bytes)
    model = open_model(package, preprocessor.numbers, shared.execution)
    return shared.encoder(model, preprocessor, Text("canary"), _TEXTS_PER_JOB, _IDENTITY, _is_short)


def _is_short(text: Text) -> bool:
    return len(text.prompt) + len(text.text) <= _SHORT


def open_model(package: Package, numbers: TextNumbers, execution: Execution) -> Model:
    """Returns the package's model, which pads texts as its numbers say."""
    is_padded = numbers.pad_multiple > 0 and not numbers.fixed_length
    pads = {} if not is_padded else {**dict.fromkeys(_ZEROS, 0), "input_ids": numbers.pad_id}
    multiple, most = numbers.padded_to or max(1, numbers.pad_multiple), numbers.padded_to or numbers.max_tokens
    return Model(package, pads, multiple, most, execution)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the service with the flags `argv` (None: those of the process) until a signal; returns the exit code."""
    return run("text", Config, serving, lambda config: config.server, argv)
