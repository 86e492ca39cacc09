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
from training import meanings, nothing, originals, waves
from training.captions import SCENES, Scene, caption, held_out_scenes
from training.concepts import CONCEPTS, is_digit
from training.drawing import draw_digit, draw_scene
from training.meanings import Meaning
from training.settings import AUDIO_NUMBERS, IMAGE_NUMBERS, Settings
from training.speech import SAMPLE_RATE_HZ, random_voice, speak

T = TypeVar("T")
_RATE = AUDIO_NUMBERS.front_end.sample_rate_hz


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
    """Pictures and sounds by source.

    images: photographs, handwritten, typed, scenes; nothing. sounds: spoken, animals, words, phrases; played and
    unnamed, which mean nothing: tones and noises, and spoken words that no label has.
    """

    images: dict[str, Images]
    sounds: dict[str, Sounds]


Report = Callable[[int, str], None]


def prepare(data: Path, cache: Path, settings: Settings, report: Report) -> Prepared:
    """Returns what is trained on, read from `cache` where it is there; `held_out.py` writes what is not."""
    cache.mkdir(parents=True, exist_ok=True)
    train = Prepared({}, {})
    for name, make_images in _IMAGE_MAKERS.items():
        train.images[name] = cached(cache / f"{name}.pickle", partial(make_images, data, settings))
        report(1, name)
    for name, make_sounds in _SOUND_MAKERS.items():
        train.sounds[name] = cached(cache / f"{name}.pickle", partial(make_sounds, data, settings))
        report(1, name)
    return train


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


def _photographs(data: Path, settings: Settings) -> Images:
    return _kept(originals.read_photographs(data, settings.photographs))


def _handwritten(data: Path, settings: Settings) -> Images:
    return _kept(originals.read_handwritten(data, settings.handwritten))


def _kept(pictures: originals.Pictures) -> Images:
    """Returns those that are not held out."""
    kept = ~pictures.is_held_out
    said = [meanings.of_label(int(label)) for label in pictures.labels[kept]]
    return Images(np.stack([shrink(image) for image in pictures.images[kept]]), said)


def _typed(_data: Path, settings: Settings) -> Images:
    rng = np.random.default_rng(settings.seed + 1)
    pixels = [shrink(draw_digit(i % 10, rng)) for i in range(settings.typed)]
    return Images(np.stack(pixels), [meanings.of_label(i % 10) for i in range(settings.typed)])


def _scenes(_data: Path, settings: Settings) -> Images:
    rng = np.random.default_rng(settings.seed + 2)
    chosen = _seen_scenes(settings.scenes)
    pixels = np.stack([shrink(draw_scene(scene, rng)) for scene in chosen])
    return Images(pixels, [meanings.of_scene(scene) for scene in chosen])


def _seen_scenes(count: int) -> list[Scene]:
    """Returns scenes that training may see, round and round."""
    seen = [scene for scene in SCENES if scene not in held_out_scenes()]
    return [seen[i % len(seen)] for i in range(count)]


def _nothing(data: Path, settings: Settings) -> Images:
    rng = np.random.default_rng(settings.seed + 7)
    photographs = originals.read_photographs(data, settings.photographs)
    to_cut = photographs.images[~photographs.is_held_out]
    drawn = [shrink(nothing.draw(i, to_cut, rng, is_held_out=False)) for i in range(settings.nothing_pictures)]
    return Images(np.stack(drawn), [meanings.of_nothing()] * len(drawn))


def _spoken(data: Path, settings: Settings) -> Sounds:
    clips = originals.read_spoken_digits(data, settings.spoken_digits)
    return _recorded(clips, settings.clip_variants, (0.78, 1.28), np.random.default_rng(settings.seed + 3))


def _animals(data: Path, settings: Settings) -> Sounds:
    clips = originals.read_animals(data, settings.animal_clips)
    return _recorded(clips, settings.animal_variants, (0.85, 1.18), np.random.default_rng(settings.seed + 4))


def _recorded(
    clips: Sequence[originals.Clip], variants: int, speed: tuple[float, float], rng: np.random.Generator
) -> Sounds:
    """Returns the clips that are not held out, each followed by variants of it."""
    sounds = Sounds([], [])
    for clip in clips:
        if clip.is_held_out:
            continue
        samples = resample(clip.samples, clip.sample_rate_hz, _RATE)
        sounds.features.extend(mel(each, _RATE) for each in (samples, *_variants(samples, variants, speed, rng)))
        sounds.meanings.extend([meanings.of_label(clip.label)] * (1 + variants))
    return sounds


def _variants(
    samples: NDArray[np.float32], count: int, speed: tuple[float, float], rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    longest = int(5.0 * _RATE)
    return [waves.vary(waves.crop(samples, longest, rng), _RATE, rng, speed) for _ in range(count)]


def _words(_data: Path, settings: Settings) -> Sounds:
    """Returns spoken class names, each label equally often but digits twice; one in eight in Chinese."""
    rng = np.random.default_rng(settings.seed + 5)
    sounds = Sounds([], [])
    for i in range(settings.speech_words):
        label = i % len(CONCEPTS) if i % 3 else i // 3 % 10
        is_chinese = rng.random() < 0.125
        names = CONCEPTS[label].chinese if is_chinese else CONCEPTS[label].english
        name = names[0] if rng.random() < 0.6 else str(rng.choice(names))
        if not is_chinese and rng.random() < 0.2:
            name = f"the {'digit ' if is_digit(label) else ''}{name}"
        _say(sounds, name, meanings.of_label(label), rng, chinese=is_chinese)
    return sounds


def _phrases(_data: Path, settings: Settings) -> Sounds:
    rng = np.random.default_rng(settings.seed + 6)
    sounds = Sounds([], [])
    for scene in _seen_scenes(settings.speech_phrases):
        _say(sounds, _spoken_caption(scene, rng), meanings.of_scene(scene), rng)
    return sounds


def _spoken_caption(scene: Scene, rng: np.random.Generator) -> str:
    text = caption(scene)
    if scene.count == 0 and rng.random() < 0.5:
        text = "a" + text.removeprefix("one")
    return text


def _played(_data: Path, settings: Settings) -> Sounds:
    rng = np.random.default_rng(settings.seed + 8)
    played = [nothing.play(i, _RATE, rng, is_held_out=False) for i in range(settings.nothing_sounds)]
    return Sounds([mel(each, _RATE) for each in played], [meanings.of_nothing()] * len(played))


def _unnamed(_data: Path, settings: Settings) -> Sounds:
    rng = np.random.default_rng(settings.seed + 9)
    english, _ = nothing.words(is_held_out=False)
    sounds = Sounds([], [])
    for i in range(settings.nothing_words):
        _say(sounds, english[i % len(english)], meanings.of_nothing(), rng)
    return sounds


def _say(sounds: Sounds, text: str, meaning: Meaning, rng: np.random.Generator, *, chinese: bool = False) -> None:
    """Adds a text in a random voice, and a variant of it."""
    samples = speak(text, random_voice(rng, chinese=chinese))
    for sound in (samples, waves.vary(samples, SAMPLE_RATE_HZ, rng, (0.88, 1.14))):
        sounds.features.append(mel(sound, SAMPLE_RATE_HZ))
        sounds.meanings.append(meaning)


_IMAGE_MAKERS = {"photographs": _photographs, "handwritten": _handwritten, "typed": _typed, "scenes": _scenes,
                 "nothing": _nothing}  # fmt: skip
_SOUND_MAKERS = {"spoken": _spoken, "animals": _animals, "words": _words, "phrases": _phrases, "played": _played,
                 "unnamed": _unnamed}  # fmt: skip
SOURCE_COUNT = len(_IMAGE_MAKERS) + len(_SOUND_MAKERS)
