"""`python -m training.samples`: makes the demo's sample inputs, and checks that the shipped models understand them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
from numpy.typing import NDArray
from tokenizers import Tokenizer

from services.audio.preprocess import preprocess as preprocess_audio
from services.vision.preprocess import preprocess as preprocess_image
from training.captions import COLOURS, COUNTS, SCENES, SHAPES, SIZES, Scene, caption
from training.concepts import DIGITS, LABELS
from training.drawing import draw_digit, draw_scene
from training.held_out import write_picture, write_sound
from training.originals import decode_picture
from training.settings import AUDIO_NUMBERS, IMAGE_NUMBERS
from training.speech import SAMPLE_RATE_HZ, Voice, speak, trim
from training.waves import coloured_noise

_SCENES = ("two small red circles", "three large blue triangles", "one large yellow star", "three small green squares",
           "two large purple crosses", "one small orange circle")  # fmt: skip
_TYPED = ((3, 11), (4, 12), (7, 13), (7, 14), (9, 15))  # digit, seed
_SPOKEN = (
    ("seven", Voice("en-us", 150, 50)),
    ("seven", Voice("en-gb+f2", 150, 60)),
    ("four", Voice("en-us+m3", 150, 45)),
    ("three", Voice("en-gb", 145, 50)),
    ("dog", Voice("en-us+f1", 150, 55)),
    ("ship", Voice("en-us", 145, 50)),
    ("two small red circles", Voice("en-us", 155, 50)),
    ("two small red circles", Voice("en-gb+f2", 150, 60)),
    ("three large blue triangles", Voice("en-gb+m3", 155, 45)),
    ("one large yellow star", Voice("en-us+f1", 155, 55)),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One input of the demo: its file in the folder, its modality, and the text that says what it is."""

    file: str
    modality: str
    caption: str


class Models:
    """The shipped encoders, run by onnxruntime on what the services' preprocessing makes."""

    def __init__(self, models: Path) -> None:
        self._sessions = {
            name: onnxruntime.InferenceSession(str(models / f"tiny-{name}" / "1" / "model.onnx"))
            for name in ("text", "vision", "audio")
        }
        self._tokenizer = Tokenizer.from_file(str(models / "tiny-text" / "1" / "tokenizer.json"))

    def text(self, text: str) -> NDArray[np.float32]:
        """Returns the (DIM,) unit vector of a text."""
        encoding = self._tokenizer.encode(text)
        arrays = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask}
        return self._run("text", {name: np.array([row], np.int64) for name, row in arrays.items()})

    def image(self, file: Path) -> NDArray[np.float32]:
        """Returns the (DIM,) unit vector of a picture."""
        rgb = decode_picture(file.read_bytes())
        return self._run(
            "vision", {"pixel_values": preprocess_image(rgb, IMAGE_NUMBERS).rows[0].arrays["pixel_values"][None]}
        )

    def audio(self, file: Path) -> NDArray[np.float32]:
        """Returns the (DIM,) unit vector of a sound of at most one window."""
        samples, rate = soundfile.read(file, dtype="float32")
        features = preprocess_audio(samples, rate, AUDIO_NUMBERS).rows[0].arrays["input_features"]
        return self._run("audio", {"input_features": features[None]})

    def of(self, sample: Sample, folder: Path) -> NDArray[np.float32]:
        """Returns the vector of a sample."""
        file = folder / sample.file
        return self.image(file) if sample.modality == "image" else self.audio(file)

    def _run(self, name: str, arrays: dict[str, NDArray[np.int64] | NDArray[np.float32]]) -> NDArray[np.float32]:
        row = self._sessions[name].run(None, arrays)[0][0]
        return np.asarray(row / np.linalg.norm(row), np.float32)


def write_samples(folder: Path) -> list[Sample]:
    """Writes every sample and the index `samples.json` into `folder`; the same each time."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = [*_write_scenes(folder), *_write_typed(folder), *_write_spoken(folder), *_write_sounds(folder)]
    index = json.dumps([asdict(sample) for sample in samples], indent=2, ensure_ascii=False)
    (folder / "samples.json").write_text(index + "\n", encoding="utf-8")
    return samples


def misunderstood(models: Models, folder: Path, samples: Sequence[Sample]) -> list[str]:
    """Returns a line for each sample whose own text is not the nearest of all labels and scene captions."""
    texts = [*LABELS, *(caption(scene) for scene in SCENES)]
    candidates = np.stack([models.text(text) for text in texts])
    lines = []
    for sample in samples:
        cosines = candidates @ models.of(sample, folder)
        found = texts[int(cosines.argmax())]
        if found != sample.caption:
            own = float(cosines[texts.index(sample.caption)])
            lines.append(f"{sample.file}: {found!r} at {cosines.max():.3f}, {sample.caption!r} at {own:.3f}")
    return lines


def _write_scenes(folder: Path) -> list[Sample]:
    samples = []
    for number, text in enumerate(_SCENES):
        name = text.replace(" ", "-") + (".png" if number % 2 == 0 else ".jpg")
        write_picture(folder / name, draw_scene(_scene(text), np.random.default_rng((21, number))))
        samples.append(Sample(name, "image", text))
    return samples


def _scene(text: str) -> Scene:
    count, size, colour, shape = text.split()
    singular = next(name for name in SHAPES if shape.startswith(name))
    return Scene(COUNTS.index(count), SIZES.index(size), COLOURS.index(colour), SHAPES.index(singular))


def _write_typed(folder: Path) -> list[Sample]:
    samples = []
    for digit, seed in _TYPED:
        name = f"digit-{digit}-{seed}.png"
        write_picture(folder / name, draw_digit(digit, np.random.default_rng(seed)))
        samples.append(Sample(name, "image", DIGITS[digit].label))
    return samples


def _write_spoken(folder: Path) -> list[Sample]:
    samples = []
    for text, voice in _SPOKEN:
        suffix = ".flac" if " " in text else ".wav"
        name = f"spoken-{text.replace(' ', '-')}-{voice.name.replace('+', '-')}{suffix}"
        write_sound(folder / name, _loud(speak(text, voice)), SAMPLE_RATE_HZ)
        samples.append(Sample(name, "audio", text))
    return samples


def _write_sounds(folder: Path) -> list[Sample]:
    rng = np.random.default_rng(31)
    made = {"bird": _chirps(rng), "cow": _moo(rng)}
    for name, samples in made.items():
        write_sound(folder / f"synthesised-{name}.flac", _loud(samples), 16_000)
    return [Sample(f"synthesised-{name}.flac", "audio", name) for name in made]


def _loud(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(0.8 * samples / np.abs(samples).max(), np.float32)


def _chirps(rng: np.random.Generator, rate: int = 16_000) -> NDArray[np.float32]:
    """Returns 1.6 s of whistled notes that glide up and down between 3 and 5.5 kHz."""
    whole = np.zeros(int(1.6 * rate))
    for start in np.arange(0.05, 1.45, 0.17):
        time = np.arange(int(0.11 * rate)) / rate
        middle, sweep = rng.uniform(3400, 4600), rng.uniform(-900, 900)
        phase = 2 * np.pi * (middle * time + sweep * 0.11 / (2 * np.pi) * np.sin(2 * np.pi * time / 0.11))
        at = int(start * rate)
        whole[at : at + time.size] += np.sin(phase) * np.hanning(time.size)
    return (whole + 0.004 * coloured_noise(whole.size, 1.0, rng)).astype(np.float32)


def _moo(rng: np.random.Generator, rate: int = 16_000) -> NDArray[np.float32]:
    """Returns 1.5 s of a low voice through a slowly opening mouth."""
    time = np.arange(int(1.5 * rate)) / rate
    pitch = 110 + 45 * np.sin(np.pi * time / 1.5) + 3 * np.sin(2 * np.pi * 6 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    opening = 300 + 350 * np.sin(np.pi * time / 1.5)
    voice = sum(np.sin(k * phase) / k**0.5 * np.exp(-(((k * pitch - opening) / 260) ** 2)) for k in range(1, 24))
    whole = voice * np.sin(np.pi * time / 1.5) ** 0.5
    return trim((whole + 0.01 * coloured_noise(time.size, 1.0, rng)).astype(np.float32))


def main() -> None:
    """Reads the command line, writes the samples and checks them; the exit status tells whether all are understood."""
    parser = argparse.ArgumentParser(prog="python -m training.samples", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model packages (models)")
    parser.add_argument("--out", type=Path, default=Path("demo/inputs"), help="where the samples go (demo/inputs)")
    given = parser.parse_args()
    samples = write_samples(given.out)
    lines = misunderstood(Models(given.models), given.out, samples)
    print(*lines, f"{len(samples) - len(lines)} of {len(samples)} samples are understood", sep="\n")
    raise SystemExit(1 if lines else 0)


if __name__ == "__main__":
    main()
