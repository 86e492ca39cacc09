"""Wires the audio service together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

import numpy as np

from sensorium.errors import InvalidInput, Reason
from sensorium.v1 import audio_pb2, audio_pb2_grpc, content_pb2, model_pb2
from services.audio.clips import Clip, check_pcm, read_samples
from services.audio.config import Config
from services.audio.decode import AudioLimits, check, checked, decode
from services.audio.open_inference import native
from services.audio.preprocess import AudioNumbers, preprocess
from services.audio.servicer import AudioServicer
from shared.hosting.decoding import Codec, decoding, inline
from shared.hosting.host import Host, Program, hosting
from shared.inference.cache import Identity
from shared.inference.encoder import Encoder
from shared.inference.features import Prepared
from shared.inference.isolation import Decoder
from shared.inference.manifest import read_numbers
from shared.inference.model import Model
from shared.inference.package import Package
from shared.serving.metrics import Metrics
from shared.serving.server import Running, run

_SERVICE = audio_pb2.DESCRIPTOR.services_by_name["AudioEncoderService"].full_name

# A clip is cut into no more windows than this; a guess that bounds what one item may cost.
_MAX_WINDOWS = 4096


@contextlib.asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Running]:
    """Serves until the block is left; raises SensoriumError or OSError where it cannot start."""
    metrics = Metrics("audio")
    with decoding(codec(config), config.decoding, config.hosting, metrics) as decoder:
        program = Program(
            name="audio",
            service=_SERVICE,
            limits=model_pb2.Limits(max_item_bytes=config.max_audio_bytes, max_audio_ms=config.max_audio_ms),
            accepts=lambda manifest: manifest.modality == "audio",
            open_encoder=lambda package, shared: open_encoder(package, config, shared, decoder),
            add=lambda models, server: audio_pb2_grpc.add_AudioEncoderServiceServicer_to_server(
                AudioServicer(models, config.server.max_items), server
            ),
            native=lambda models: native(models, config.server.max_items),
        )
        async with hosting(program, config.server, config.hosting, metrics) as running:
            yield running


def open_encoder(package: Package, config: Config, shared: Host, decoder: Decoder | None = None) -> Encoder[Clip]:
    """Returns one package ready to serve, warmed up; raises FailedPrecondition where it does not fit.

    decoder: what makes samples of files; None: the thread that prepares them.
    """
    numbers = read_numbers(package.manifest, AudioNumbers.of)
    decoded, limits = decoder or inline(codec(config)), _limits(config)
    model = Model(package, execution=shared.execution)
    return shared.encoder(model, lambda clip: _prepare(clip, numbers, limits, decoded), _canary(), identity=_IDENTITY)


def codec(config: Config) -> Codec:
    """Returns how this service decodes sounds."""
    limits = _limits(config)
    return Codec(
        inline=lambda data: decode(data, limits),
        check=lambda data: check(data, limits),
        entry="services.audio.decode:set_up",
        arguments={
            "max_bytes": limits.max_bytes,
            "max_ms": limits.max_ms,
            "max_samples": limits.max_samples,
        },
        input_bytes=limits.max_bytes,
        output_bytes=4 * limits.max_samples,
    )


def _limits(config: Config) -> AudioLimits:
    return AudioLimits(config.max_audio_bytes, config.max_audio_ms, config.max_audio_samples)


def _parts(clip: Clip) -> Sequence[bytes]:
    windows = f"{clip.windows.length_ms} {clip.windows.hop_ms}"
    return clip.audio.SerializeToString(deterministic=True), windows.encode()


_IDENTITY = Identity(_parts, lambda clip: clip.audio.ByteSize())


def _prepare(clip: Clip, numbers: AudioNumbers, limits: AudioLimits, decoded: Decoder) -> Prepared:
    source = clip.audio.WhichOneof("source")
    if source == "data":
        with decoded(clip.audio.data) as (given, rate):
            samples = given.copy()  # the features may be the samples themselves, and outlast the block
    elif source == "pcm":
        pcm = clip.audio.pcm
        try:
            check_pcm(pcm.format, pcm.sample_rate_hz, pcm.channel_count)
            raw = read_samples(pcm.samples, pcm.format, pcm.channel_count)
            samples, rate = checked(raw, pcm.sample_rate_hz, "samples", limits), pcm.sample_rate_hz
        except InvalidInput as error:
            raise error.under("pcm") from None
    else:
        raise InvalidInput("is not set; give data or pcm", reason=Reason.FIELD_MISSING, field="source")
    if clip.windows.hop_ms and 1000 * samples.size > _MAX_WINDOWS * clip.windows.hop_ms * rate:
        raise InvalidInput(
            f"would be cut into more than {_MAX_WINDOWS} windows; give a larger hop_ms, or a shorter clip"
        )
    return preprocess(samples, rate, numbers, clip.windows.length_ms, clip.windows.hop_ms)


def _canary() -> Clip:
    """Returns half a second of a 440 Hz tone at 16 kHz."""
    tone = np.sin(np.arange(8000, dtype=np.float32) * np.float32(2 * np.pi * 440 / 16000))
    pcm = content_pb2.Pcm(samples=tone.tobytes(), format=content_pb2.PCM_FORMAT_FLOAT32, sample_rate_hz=16000)
    return Clip(content_pb2.Audio(pcm=pcm))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the service with the flags `argv` (None: those of the process) until a signal; returns the exit code."""
    return run("audio", Config, serving, lambda config: config.server, argv)
