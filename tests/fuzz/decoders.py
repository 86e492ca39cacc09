"""Mutated files and texts through the decoders and the preprocessing, without a service around them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np

from sensorium.errors import InvalidInput
from services.audio.app import codec as audio_codec
from services.audio.config import Config as AudioConfig
from services.audio.preprocess import AudioNumbers
from services.audio.preprocess import preprocess as preprocess_audio
from services.text.preprocess import Text, TextPreprocessor
from services.vision.app import codec as vision_codec
from services.vision.config import Config as VisionConfig
from services.vision.preprocess import ImageNumbers
from services.vision.preprocess import preprocess as preprocess_image
from shared.hosting.config import HostingConfig
from shared.hosting.decoding import DecodingConfig, decoding
from shared.inference.features import Prepared
from shared.inference.isolation import Decoder
from shared.inference.package import open_package
from shared.serving.metrics import Metrics
from tests.fuzz.corpus import Corpus
from tests.fuzz.findings import Finding, Tally
from tests.fuzz.mutate import mutated

_MODELS = Path(__file__).parents[2] / "models"
_MOST_S = 10.0  # an input may take; a machine with other work is slow, a hang is endless
# Small limits, so that what is allowed is quickly done, and a header that lies is refused.
_VISION = VisionConfig(max_image_bytes=1 << 20, max_pixels=4_000_000)
_AUDIO = AudioConfig(max_audio_bytes=1 << 20, max_audio_ms=60_000, max_audio_samples=4_000_000)
_DECODING = DecodingConfig(decode="isolated", decode_memory_mb=256, decode_timeout_s=_MOST_S)

_LOST = ("crashed the decoder", "took more than", "made the decoder", "was not decoded")

_CLIP = ImageNumbers((224, 224), 224, "bicubic", "pil", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Target:
    """One decoder with its preprocessing.

    seeds: what is mutated for it. prepare: an input to model input; it may draw from the random numbers.
    """

    def __init__(
        self, name: str, seeds: Sequence[bytes], prepare: Callable[[bytes, Random], Prepared], tally: Tally
    ) -> None:
        """Counts in `tally`."""
        self._name, self._seeds, self._prepare, self._tally = name, seeds, prepare, tally

    def __call__(self, rng: Random, number: int) -> None:
        """Prepares a mutated seed."""
        self._try(mutated(rng.choice(self._seeds), rng, self._seeds), rng, number)

    def unchanged(self, data: bytes, number: int) -> None:
        """Prepares an input as it is."""
        self._try(data, Random(number), number)

    def _try(self, data: bytes, rng: Random, number: int) -> None:
        """Prepares an input, and counts how it ended."""
        started, said = time.monotonic(), ""
        try:
            for row in self._prepare(data, rng).rows:
                assert all(np.isfinite(array).all() for array in row.arrays.values()), "a value that is no number"
            outcome = "ok"
        except InvalidInput as refusal:
            outcome = refusal.reason.removeprefix("ERROR_REASON_").lower()
            if refusal.problem.startswith(_LOST):
                outcome, said = "decoder lost", refusal.problem
        except BaseException as bug:
            if isinstance(bug, KeyboardInterrupt):
                raise
            outcome, said = "bug", f"{type(bug).__name__}: {bug}"  # a panic of tokenizers is none of Exception
        took = time.monotonic() - started
        if took > _MOST_S:
            outcome, said = "slow", f"took {took:.1f} s"
        self._tally.add(self._name, outcome)
        if said:
            self._tally.findings.append(Finding(self._name, number, said, data))


@contextlib.contextmanager
def decoders(corpus: Corpus, tally: Tally) -> Iterator[dict[str, Target]]:
    """Gives what takes an input of a number: `image`, `sound` and `text`."""
    one = HostingConfig(workers=1)
    text = TextPreprocessor(open_package(_MODELS / "tiny-text" / "1"), 1 << 16)
    images = ImageNumbers.of(open_package(_MODELS / "tiny-vision" / "1").manifest.preprocess)
    sounds = AudioNumbers.of(open_package(_MODELS / "tiny-audio" / "1").manifest.preprocess)
    image_metrics, sound_metrics = Metrics("vision"), Metrics("audio")
    with (
        decoding(vision_codec(_VISION), _DECODING, one, image_metrics) as image_decoder,
        decoding(audio_codec(_AUDIO), _DECODING, one, sound_metrics) as sound_decoder,
    ):

        def image(data: bytes, rng: Random) -> Prepared:
            with image_decoder(data) as (rgb, _):
                assert rgb.dtype == np.uint8, rgb.dtype
                assert rgb.shape[2] == 3, rgb.shape
                assert rgb.size <= 3 * _VISION.max_pixels, rgb.shape
                return preprocess_image(rgb, images if rng.random() < 0.8 else _CLIP)

        def sound(data: bytes, rng: Random) -> Prepared:
            return _prepared_sound(data, rng, sound_decoder, sounds)

        def word(data: bytes, rng: Random) -> Prepared:
            return text(Text(data.decode(errors="replace"), truncate=rng.random() < 0.5))

        yield {
            "image": Target("image", corpus.images, image, tally),
            "sound": Target("sound", corpus.sounds, sound, tally),
            "text": Target("text", corpus.texts, word, tally),
        }


def _prepared_sound(data: bytes, rng: Random, decoder: Decoder, numbers: AudioNumbers) -> Prepared:
    with decoder(data) as (samples, rate):
        assert samples.dtype == np.float32, samples.dtype
        assert samples.ndim == 1, samples.shape
        assert np.isfinite(samples).all()
        window_ms = rng.choice((0, 0, 100, 1000))
        return preprocess_audio(samples, rate, numbers, window_ms, window_ms)
