"""Writes what training never sees as files in labelled folders: what `sensorium evaluate` takes, and users can too."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import soundfile
from numpy.typing import NDArray

from sensorium.cli.inputs import Kind
from training import nothing, originals, waves
from training.captions import SCENES, caption, caption_zh, held_out_scenes
from training.concepts import ANIMAL_LABELS, CONCEPTS, LABELS, PHOTOGRAPH_LABELS, UNSEEN_TEMPLATES
from training.drawing import Picture, draw_digit, draw_scene
from training.originals import Clip
from training.settings import AUDIO_NUMBERS, Settings
from training.speech import SAMPLE_RATE_HZ, random_voice, speak
from training.waves import Wave

_RATE = AUDIO_NUMBERS.front_end.sample_rate_hz
_DONE = "complete"
_LARGE_PX = (640, 480)  # width, height
_LARGE_EVERY = 5  # of the photographs: large files take room
_DRAWN_EACH = 8  # of an unseen scene
_NOTHING_EACH = 400
NAMES_ZH, CAPTIONS_ZH = "names-zh.csv", "captions-zh.csv"
# Deviation of the noise on pictures of 0..255, decibels of the sound over its noise. In the first each is 60 to 80 %
# right alone, which is where joining should help; in the second one of them is of little use.
NOISY = {"both noisy": (175.0, 0.0), "picture very noisy": (230.0, 0.0)}

# The folders of single items: their kind, and the labels that one of them may have.
LABELLED: Mapping[str, tuple[Kind, Sequence[str]]] = {
    "handwritten": ("image", LABELS[:10]),
    "typed": ("image", LABELS[:10]),
    "photographs": ("image", PHOTOGRAPH_LABELS),
    "scenes-unseen": ("image", [caption(scene) for scene in SCENES]),
    "spoken": ("audio", LABELS[:10]),
    "animals": ("audio", ANIMAL_LABELS),
    "words": ("audio", LABELS),
    "captions": ("audio", [caption(scene) for scene in SCENES]),
}


def write_held_out(data: Path, folder: Path, settings: Settings, advance: Callable[[int, str], None]) -> None:
    """Writes the folders that `measuring.py` reads into `folder`, unless it is complete; the same from one seed."""
    for number, (name, write) in enumerate(_WRITERS.items()):
        if not (folder / f".{name}-{_DONE}").is_file():
            write(data, folder, settings, np.random.default_rng((settings.seed, 100 + number)))
            (folder / f".{name}-{_DONE}").touch()
        advance(1, name)


def _names(_data: Path, folder: Path, _settings: Settings, rng: np.random.Generator) -> None:
    """Writes the Chinese names, and texts: sentences with a name in templates that training lacks, and with others."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_names(folder / NAMES_ZH, [(concept.label, concept.chinese[0]) for concept in CONCEPTS])
    _write_names(folder / CAPTIONS_ZH, [(caption(scene), caption_zh(scene)) for scene in SCENES])
    for concept in CONCEPTS:
        _write_lines(folder / "texts" / concept.label, [each.format(concept.label) for each in UNSEEN_TEMPLATES])
    english, _ = nothing.words(is_held_out=True)
    _write_lines(folder / "texts-of-nothing", [each.format(word) for word in english for each in UNSEEN_TEMPLATES])


def _handwritten(data: Path, folder: Path, settings: Settings, _rng: np.random.Generator) -> None:
    for number, (picture, label) in enumerate(_held_out(originals.read_handwritten(data, settings.handwritten))):
        for name, changed in (
            ("handwritten", picture),
            ("handwritten-inverted", 255 - picture),
            ("handwritten-off-centre", np.roll(picture, (3, -3), (0, 1))),
        ):
            write_picture(folder / name / label / f"{number:05}.png", changed)


def _typed(_data: Path, folder: Path, settings: Settings, rng: np.random.Generator) -> None:
    for number in range(min(500, settings.typed)):
        drawn = draw_digit(number % 10, rng, held_out_fonts=True)
        write_picture(folder / "typed" / LABELS[number % 10] / f"{number:05}.png", drawn)


def _photographs(data: Path, folder: Path, settings: Settings, _rng: np.random.Generator) -> None:
    for number, (picture, label) in enumerate(_held_out(originals.read_photographs(data, settings.photographs))):
        write_picture(folder / "photographs" / label / f"{number:05}.png", picture)
        if number % _LARGE_EVERY == 0:
            write_picture(folder / "photographs-some" / label / f"{number:05}.png", picture)
            large = cv2.resize(picture, _LARGE_PX, interpolation=cv2.INTER_CUBIC)
            write_picture(folder / "photographs-640x480" / label / f"{number:05}.jpg", np.asarray(large, np.uint8))


def _scenes(_data: Path, folder: Path, _settings: Settings, rng: np.random.Generator) -> None:
    """Writes drawings of unseen scenes among all captions; and spoken captions of these among a drawing of each."""
    for scene in SCENES:
        name, is_unseen = caption(scene), scene in held_out_scenes()
        for kind, count in (("scenes-unseen", _DRAWN_EACH * is_unseen), ("scenes-seen", 2 * (not is_unseen))):
            (folder / kind / name).mkdir(parents=True, exist_ok=True)  # one without pictures can still be chosen
            for number in range(count):
                write_picture(folder / kind / name / f"{number}.png", draw_scene(scene, rng))
        write_picture(folder / "captions" / name / "drawn.png", draw_scene(scene, rng))
        _write_lines(folder / "captions" / name, [name] if is_unseen else [])
        for number in range(3 * is_unseen):
            spoken = speak(name, random_voice(rng, is_held_out=True))
            write_sound(folder / "captions" / name / f"spoken-{number}.wav", spoken, SAMPLE_RATE_HZ)


def _words(_data: Path, folder: Path, settings: Settings, rng: np.random.Generator) -> None:
    for number in range(min(260, settings.speech_words)):
        label = LABELS[number % len(LABELS)]
        spoken = speak(label, random_voice(rng, is_held_out=True))
        write_sound(folder / "words" / label / f"{number:05}.wav", spoken, SAMPLE_RATE_HZ)


def _spoken(data: Path, folder: Path, settings: Settings, rng: np.random.Generator) -> None:
    changes: dict[str, Callable[[Wave], Wave]] = {
        "spoken": lambda samples: samples,
        "spoken-slower": lambda samples: waves.change_speed(samples, 0.85),
        "spoken-faster": lambda samples: waves.change_speed(samples, 1.15),
        "spoken-noisy": lambda samples: waves.white_noise(samples, 10.0, rng),
    }
    for number, clip in enumerate(_held_out_clips(originals.read_spoken_digits(data, settings.spoken_digits))):
        for name, change in changes.items():
            file = folder / name / LABELS[clip.label] / f"{number:05}.wav"
            write_sound(file, change(clip.samples), clip.sample_rate_hz)


def _animals(data: Path, folder: Path, settings: Settings, _rng: np.random.Generator) -> None:
    """Writes animal calls; and a list of the calls of animals that there are photographs of, with all photographs."""
    for number, clip in enumerate(_held_out_clips(originals.read_animals(data, settings.animal_clips))):
        write_sound(folder / "animals" / LABELS[clip.label] / f"{number:05}.wav", clip.samples, clip.sample_rate_hz)
    listed = [file for name in ("dog", "cat", "bird", "frog") for file in (folder / "animals" / name).glob("*.wav")]
    listed += (folder / "photographs").glob("*/*.png")
    (folder / "calls").mkdir(exist_ok=True)
    with (folder / "calls" / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "label"])
        rows.writerows([f"../{file.relative_to(folder)}", file.parent.name] for file in sorted(listed))


def _noisy(data: Path, folder: Path, settings: Settings, rng: np.random.Generator) -> None:
    """Writes pairs of a noisy handwritten digit and the same digit spoken in noise, file names alike."""
    pictures = list(_held_out(originals.read_handwritten(data, settings.handwritten)))
    for number, clip in enumerate(_held_out_clips(originals.read_spoken_digits(data, settings.spoken_digits))):
        label = LABELS[clip.label]
        same = [picture for picture, shown in pictures if shown == label]
        if not same:
            continue
        picture = same[int(rng.integers(len(same)))].astype(np.float64)
        for name, (deviation, ratio_db) in NOISY.items():
            grainy = np.clip(picture + rng.normal(0, deviation, picture.shape[:2])[:, :, None], 0, 255)
            write_picture(folder / name / label / f"{number:05}.png", grainy.astype(np.uint8))
            sound = waves.white_noise(clip.samples, ratio_db, rng)
            write_sound(folder / name / label / f"{number:05}.wav", sound, clip.sample_rate_hz)


def _of_nothing(data: Path, folder: Path, settings: Settings, rng: np.random.Generator) -> None:
    """Writes patterns, letters, cut-up photographs, music, and spoken words that no label has."""
    photographs = originals.read_photographs(data, settings.photographs)
    to_cut = photographs.images[photographs.is_held_out]
    for number in range(min(_NOTHING_EACH, settings.nothing_pictures)):
        picture = nothing.draw(number, to_cut, rng, is_held_out=True)
        write_picture(folder / "pictures-of-nothing" / f"{number:05}.png", picture)
        sound = nothing.play(number, _RATE, rng, is_held_out=True)
        write_sound(folder / "sounds-of-nothing" / f"{number:05}.wav", sound, _RATE)
    english, _ = nothing.words(is_held_out=True)
    for number in range(min(_NOTHING_EACH // 2, settings.nothing_words)):
        spoken = speak(english[number % len(english)], random_voice(rng, is_held_out=True))
        write_sound(folder / "words-of-nothing" / f"{number:05}.wav", spoken, SAMPLE_RATE_HZ)


def write_picture(file: Path, picture: Picture) -> None:
    """Writes (h, w, 3) RGB as a .png, or as a .jpg of quality 92."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if file.suffix == ".jpg" else []
    written, content = cv2.imencode(file.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
    assert written
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.tobytes())


def write_sound(file: Path, samples: NDArray[np.float32], sample_rate_hz: int) -> None:
    """Writes (n,) mono samples in 16 bits, as the file's name says: .wav or .flac."""
    file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, samples / max(1.0, float(np.abs(samples).max())), sample_rate_hz, "PCM_16")


def _write_names(file: Path, rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("label", "name"), *rows])


def _write_lines(folder: Path, lines: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if lines:
        (folder / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _held_out(pictures: originals.Pictures) -> Iterator[tuple[Picture, str]]:
    for place in np.flatnonzero(pictures.is_held_out):
        yield pictures.images[place], LABELS[int(pictures.labels[place])]


def _held_out_clips(clips: Sequence[Clip]) -> list[Clip]:
    return [clip for clip in clips if clip.is_held_out]


_WRITERS = {
    "names": _names, "handwritten": _handwritten, "typed": _typed, "photographs": _photographs, "scenes": _scenes,
    "words": _words, "spoken": _spoken, "animals": _animals, "noisy": _noisy, "nothing": _of_nothing,
}  # fmt: skip
WRITER_COUNT = len(_WRITERS)
