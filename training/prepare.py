"""Makes everything that a run learns from, through the services' own preprocessing, and caches it under `runs/`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.audio.preprocess import preprocess, resample
from services.vision.preprocess import resize_and_crop
from training import meanings, originals, waves
from training.captions import SCENES, Scene, caption, held_out_scenes
from training.concepts import CONCEPTS, is_digit
from training.drawing import draw_digit, draw_scene
from training.meanings import Meaning
from training.settings import AUDIO_NUMBERS, IMAGE_NUMBERS, Settings
from training.speech import SAMPLE_RATE_HZ, random_voice, speak

T = TypeVar("T")
_RATE = AUDIO_NUMBERS.mel.sample_rate_hz


@dataclass(frozen=True, slots=True)
class Images:
    """Pictures as the model sees them before normalisation: pixels (n, 32, 32, 3) uint8, one meaning a row."""

    pixels: NDArray[np.uint8]
    meanings: list[Meaning]


@dataclass(frozen=True, slots=True)
class Sounds:
    """Log-mel features, each (mel, frames) float16 at its own length, one meaning a row."""

    features: list[NDArray[np.float16]]
    meanings: list[Meaning]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Pictures and sounds by source: photographs, handwritten, typed, scenes; spoken, animals, words, phrases."""

    images: dict[str, Images]
    sounds: dict[str, Sounds]


Report = Callable[[int, str], None]


def prepare(data: Path, cache: Path, settings: Settings, report: Report) -> tuple[Prepared, Prepared]:
    """Returns what is trained on, and what is held out for evaluation; read from `cache` where it is there."""
    cache.mkdir(parents=True, exist_ok=True)
    train, check = Prepared({}, {}), Prepared({}, {})
    for name, make_images in _IMAGE_MAKERS.items():
        train.images[name], check.images[name] = cached(cache / f"{name}.pickle", partial(make_images, data, settings))
        report(1, name)
    for name, make_sounds in _SOUND_MAKERS.items():
        train.sounds[name], check.sounds[name] = cached(cache / f"{name}.pickle", partial(make_sounds, data, settings))
        report(1, name)
    return train, check


def cached(file: Path, make: Callable[[], T]) -> T:
    """Returns what `file` holds, made and written first where it is missing."""
    if file.is_file():
        with file.open("rb") as stream:
            found: T = pickle.load(stream)  # noqa: S301 - our own file
        return found
    made = make()
    unfinished = file.with_suffix(".part")
    with unfinished.open("wb") as stream:
        pickle.dump(made, stream, protocol=5)
    unfinished.rename(file)
    return made


def shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the (32, 32, 3) picture that the vision service would make of it."""
    return resize_and_crop(picture, IMAGE_NUMBERS)


def mel(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float16]:
    """Returns the features that the audio service would make of a clip; of a long one, the first window's."""
    return preprocess(samples, sample_rate_hz, AUDIO_NUMBERS).rows[0].arrays["input_features"].astype(np.float16)


def _photographs(data: Path, settings: Settings) -> tuple[Images, Images]:
    return _split(originals.read_photographs(data, settings.photographs))


def _handwritten(data: Path, settings: Settings) -> tuple[Images, Images]:
    return _split(originals.read_handwritten(data, settings.handwritten))


def _split(pictures: originals.Pictures) -> tuple[Images, Images]:
    pixels = np.stack([shrink(image) for image in pictures.images])
    said = [meanings.of_label(int(label)) for label in pictures.labels]
    return _images(pixels, said, ~pictures.is_held_out), _images(pixels, said, pictures.is_held_out)


def _images(pixels: NDArray[np.uint8], said: Sequence[Meaning], kept: NDArray[np.bool_]) -> Images:
    return Images(pixels[kept], [meaning for meaning, keep in zip(said, kept, strict=True) if keep])


def _typed(_data: Path, settings: Settings) -> tuple[Images, Images]:
    rng = np.random.default_rng(settings.seed + 1)
    return _typed_images(settings.typed, rng, held_out_fonts=False), _typed_images(500, rng, held_out_fonts=True)


def _typed_images(count: int, rng: np.random.Generator, *, held_out_fonts: bool) -> Images:
    pixels = [shrink(draw_digit(i % 10, rng, held_out_fonts)) for i in range(count)]
    return Images(np.stack(pixels), [meanings.of_label(i % 10) for i in range(count)])


def _scenes(_data: Path, settings: Settings) -> tuple[Images, Images]:
    rng = np.random.default_rng(settings.seed + 2)
    hidden = held_out_scenes()
    seen = [scene for scene in SCENES if scene not in hidden]
    chosen = [seen[i % len(seen)] for i in range(settings.scenes)]
    return _drawn(chosen, rng), _drawn([scene for scene in SCENES for _ in range(4)], rng)


def _drawn(scenes: Sequence[Scene], rng: np.random.Generator) -> Images:
    pixels = np.stack([shrink(draw_scene(scene, rng)) for scene in scenes])
    return Images(pixels, [meanings.of_scene(scene) for scene in scenes])


def _spoken(data: Path, settings: Settings) -> tuple[Sounds, Sounds]:
    clips = originals.read_spoken_digits(data, settings.spoken_digits)
    return _recorded(clips, settings.clip_variants, (0.78, 1.28), np.random.default_rng(settings.seed + 3))


def _animals(data: Path, settings: Settings) -> tuple[Sounds, Sounds]:
    clips = originals.read_animals(data, 100_000 if settings.animal_variants > 1 else 100)
    return _recorded(clips, settings.animal_variants, (0.85, 1.18), np.random.default_rng(settings.seed + 4))


def _recorded(
    clips: Sequence[originals.Clip], variants: int, speed: tuple[float, float], rng: np.random.Generator
) -> tuple[Sounds, Sounds]:
    train, check = Sounds([], []), Sounds([], [])
    for clip in clips:
        samples = resample(clip.samples, clip.sample_rate_hz, _RATE)
        sounds = [samples] if clip.is_held_out else [samples, *_variants(samples, variants, speed, rng)]
        target = check if clip.is_held_out else train
        target.features.extend(mel(sound, _RATE) for sound in sounds)
        target.meanings.extend([meanings.of_label(clip.label)] * len(sounds))
    return train, check


def _variants(
    samples: NDArray[np.float32], count: int, speed: tuple[float, float], rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    longest = int(5.0 * _RATE)
    return [waves.vary(waves.crop(samples, longest, rng), _RATE, rng, speed) for _ in range(count)]


def _words(_data: Path, settings: Settings) -> tuple[Sounds, Sounds]:
    rng = np.random.default_rng(settings.seed + 5)
    return _spoken_words(settings.speech_words, rng), _spoken_words(260, rng, is_held_out=True)


def _spoken_words(count: int, rng: np.random.Generator, *, is_held_out: bool = False) -> Sounds:
    """Returns class names, each label equally often but digits twice; one in eight in Chinese."""
    sounds = Sounds([], [])
    for i in range(count):
        label = i % len(CONCEPTS) if i % 3 else i // 3 % 10
        chinese = not is_held_out and rng.random() < 0.125
        names = CONCEPTS[label].chinese if chinese else CONCEPTS[label].english
        name = names[0] if is_held_out or rng.random() < 0.6 else str(rng.choice(names))
        if not chinese and rng.random() < 0.2:
            name = f"the {'digit ' if is_digit(label) else ''}{name}"
        _say(sounds, name, meanings.of_label(label), rng, is_held_out=is_held_out, chinese=chinese)
    return sounds


def _phrases(_data: Path, settings: Settings) -> tuple[Sounds, Sounds]:
    rng = np.random.default_rng(settings.seed + 6)
    hidden = held_out_scenes()
    seen = [scene for scene in SCENES if scene not in hidden]
    train, check = Sounds([], []), Sounds([], [])
    for i in range(settings.speech_phrases):
        scene = seen[i % len(seen)]
        _say(train, _spoken_caption(scene, rng), meanings.of_scene(scene), rng)
    for scene in SCENES:
        _say(check, caption(scene), meanings.of_scene(scene), rng, is_held_out=True)
    return train, check


def _spoken_caption(scene: Scene, rng: np.random.Generator) -> str:
    text = caption(scene)
    if scene.count == 0 and rng.random() < 0.5:
        text = "a" + text.removeprefix("one")
    return text


def _say(
    sounds: Sounds, text: str, meaning: Meaning, rng: np.random.Generator, *, is_held_out: bool = False,
    chinese: bool = False,
) -> None:  # fmt: skip
    """Adds a text in a random voice; in training also a variant of it."""
    samples = speak(text, random_voice(rng, is_held_out=is_held_out, chinese=chinese))
    variants = [] if is_held_out else [waves.vary(samples, SAMPLE_RATE_HZ, rng, (0.88, 1.14))]
    for sound in [samples, *variants]:
        sounds.features.append(mel(sound, SAMPLE_RATE_HZ))
        sounds.meanings.append(meaning)


_IMAGE_MAKERS = {"photographs": _photographs, "handwritten": _handwritten, "typed": _typed, "scenes": _scenes}
_SOUND_MAKERS = {"spoken": _spoken, "animals": _animals, "words": _words, "phrases": _phrases}
