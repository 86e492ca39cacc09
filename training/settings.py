"""The numbers of a run: the space, the front ends' preprocessing, and how much is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from services.audio.preprocess import AudioNumbers
from services.vision.preprocess import ImageNumbers

SPACE = "tiny@1"
DIM = 128
MAX_TOKENS = 64
VOCABULARY_SIZE = 1024

# What the manifests' `preprocess` says; the services' own code reads the same numbers. Any: JSON.
TEXT_PREPROCESS: dict[str, Any] = {
    "tokenizer": "tokenizer.json",
    "max_tokens": MAX_TOKENS,
    "pad_id": 0,
    "pad_multiple": 8,
    "fixed_length": 0,
    "accepts_empty": False,
    "lowercase": False,
}
IMAGE_PREPROCESS: dict[str, Any] = {
    "size": [32, 32],
    "shortest_edge": 0,
    "resample": "bicubic",
    "mode": "torchvision",
    "mean": [0.4914, 0.4822, 0.4465],
    "std": [0.247, 0.2435, 0.2616],
}
AUDIO_PREPROCESS: dict[str, Any] = {
    "sample_rate_hz": 16000,
    "fft_length": 400,
    "hop_length": 160,
    "mel_count": 64,
    "f_min": 0.0,
    "f_max": 8000.0,
    "log_range": 8.0,
    "window_samples": 81920,
    "step_samples": 10240,
}
IMAGE_NUMBERS = ImageNumbers.of(IMAGE_PREPROCESS)
AUDIO_NUMBERS = AudioNumbers.of(AUDIO_PREPROCESS)


@dataclass(frozen=True, slots=True)
class Settings:
    """How much data is made and how long is trained.

    photographs to nothing_words: how many items of each kind are prepared. clip_variants: how many augmented
    copies of each recording. *_batch: items of each kind in one step. frames: length of the audio training window, and
    long_frames of it in a share of the steps.
    """

    seed: int = 0
    photographs: int = 50_000
    handwritten: int = 8_500
    typed: int = 10_000
    scenes: int = 20_000
    spoken_digits: int = 2_500
    animal_clips: int = 1_000
    clip_variants: int = 8
    animal_variants: int = 12
    speech_words: int = 3_600
    speech_phrases: int = 5_200
    nothing_pictures: int = 8_000
    nothing_sounds: int = 4_000
    nothing_words: int = 2_000
    photograph_batch: int = 224
    digit_batch: int = 36
    scene_batch: int = 48
    spoken_batch: int = 28
    animal_batch: int = 20
    speech_batch: int = 36
    nothing_batch: int = 20
    frames: int = 160
    long_frames: int = 320
    long_share: float = 0.3
    steps: int = 4_800
    learning_rate: float = 3e-3
    weight_decay: float = 0.04
    warmup: float = 0.08
    checkpoint_every: int = 200
    fusion_steps: int = 1_500
    head_steps: int = 800
    joint_batch: int = 512

    def smoke(self) -> Settings:
        """Returns settings that walk through every step in under two minutes, and learn next to nothing."""
        return replace(
            self,
            photographs=1_500,
            handwritten=400,
            typed=200,
            scenes=400,
            spoken_digits=150,
            animal_clips=100,
            clip_variants=1,
            animal_variants=1,
            speech_words=120,
            speech_phrases=120,
            nothing_pictures=160,
            nothing_sounds=60,
            nothing_words=60,
            steps=12,
            checkpoint_every=6,
            fusion_steps=20,
            head_steps=20,
        )
