"""Measures the packages as users meet them: files of the held-out folders through a running mesh."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import sensorium
from sensorium import Client
from sensorium.cli.evaluation.asking import Mesh
from sensorium.cli.evaluation.dataset import in_order, read_dataset, read_names, read_unlabelled
from sensorium.cli.evaluation.results import Against, Evaluation, Result
from sensorium.cli.inputs import Kind
from sensorium.cli.mesh import running_mesh
from sensorium.v1.content_pb2 import Content
from training import meanings
from training.captions import SCENES, caption
from training.concepts import LABELS
from training.encoding import Vectors
from training.held_out import CAPTIONS_ZH, LABELLED, NAMES_ZH, NOISY
from training.joint import ConceptHead
from training.settings import SPACE

_CHUNK = 32
_TIMEOUT_S = 60.0
_CHINESE = ", Chinese names"


@dataclass(frozen=True, slots=True)
class Question:
    """One call of `sensorium evaluate`: a folder, the kind of its queries, and what they are held against."""

    folder: str
    query: Kind
    against: Against = "names"


# What names a thing; each also with Chinese names.
NAMED = {
    "handwritten digit → word": Question("handwritten", "image"),
    "typed digit (fonts not in training) → word": Question("typed", "image"),
    "spoken digit (speaker not in training) → word": Question("spoken", "audio"),
    "photograph → class name": Question("photographs", "image"),
    "animal sound → animal name": Question("animals", "audio"),
    "name spoken by espeak-ng (voice not in training) → name, 26-way": Question("words", "audio"),
    "scene (unseen combination) → caption, 240-way": Question("scenes-unseen", "image"),
    "spoken caption (unseen voice and combination) → caption, 240-way": Question("captions", "audio"),
}
_SEARCHED = {
    "spoken caption (unseen voice and combination) → scene": Question("captions", "audio", "image"),
    "caption (unseen combination) → scene": Question("captions", "text", "image"),
}
_CHANGED = {
    "scene (seen combination) → caption, 240-way": Question("scenes-seen", "image"),
    "inverted handwritten digit → word": Question("handwritten-inverted", "image"),
    "handwritten digit off centre by 3 of 28 pixels → word": Question("handwritten-off-centre", "image"),
    "spoken digit at 0.85 of its speed → word": Question("spoken-slower", "audio"),
    "spoken digit at 1.15 of its speed → word": Question("spoken-faster", "audio"),
    "spoken digit with white noise at 10 dB → word": Question("spoken-noisy", "audio"),
    "photograph given at 32 × 32 pixels → class name": Question("photographs-some", "image"),
    "photograph given at 640 × 480 pixels → class name": Question("photographs-640x480", "image"),
    "text in a sentence not in training → name, 26-way": Question("texts", "text"),
}
_CALLS = Question("calls", "audio", "image")
# A question, and a folder of what has none of its labels.
OFF_TOPIC = {
    "digits, against photographs": (Question("handwritten", "image"), "photographs"),
    "photographs, against digits": (Question("photographs", "image"), "handwritten"),
    "photographs, against patterns, letters and cut-up photographs": (Question("photographs", "image"),
                                                                     "pictures-of-nothing"),
    "spoken digits, against animal sounds": (Question("spoken", "audio"), "animals"),
    "spoken digits, against music, beeps and surf": (Question("spoken", "audio"), "sounds-of-nothing"),
    "animal sounds, against spoken digits": (Question("animals", "audio"), "spoken"),
    "animal sounds, against music, beeps and surf": (Question("animals", "audio"), "sounds-of-nothing"),
    "spoken names, against other words": (Question("words", "audio"), "words-of-nothing"),
    "names in sentences, against other words": (Question("texts", "text"), "texts-of-nothing"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """Numbers by task; recalls at 1, 5 and 10 of the tasks with many candidates; confusion counts by task."""

    numbers: Mapping[str, float]
    recalls: Mapping[str, Sequence[float]]
    confusions: Mapping[str, tuple[Sequence[str], Tensor]]


def held_out_vectors(models: Path, folder: Path) -> dict[str, Vectors]:
    """Returns vectors of the labelled folders, as a mesh of the packages in `models` embeds their files."""
    with running_mesh(models) as mesh, Client(mesh.address, timeout_s=_TIMEOUT_S) as client:
        asked = Mesh(client, SPACE, (), 0)
        return {name: _vectors(asked, folder / name, kind) for name, (kind, _) in LABELLED.items()}


def measure(models: Path, folder: Path, head: ConceptHead, target: Path) -> Measured:
    """Returns what a mesh of the packages in `models` gets right of the held-out files; writes results to `target`."""
    with running_mesh(models) as mesh, Client(mesh.address, timeout_s=_TIMEOUT_S) as client:
        asked = _Asked(client, folder, target)
        numbers: dict[str, float] = {}
        recalls: dict[str, tuple[float, ...]] = {}
        confusions: dict[str, tuple[Sequence[str], Tensor]] = {}
        for task, question in NAMED.items():
            result, labels = asked.result(task, question)
            chinese, _ = asked.result(task + _CHINESE, question, is_chinese=True)
            numbers |= {task: result.accuracy, task + _CHINESE: chinese.accuracy}
            assert result.calibration is not None
            numbers[f"calibration error: {task}"] = result.calibration.error
            if len(labels) == len(SCENES):
                recalls[task] = _recalls(result)
            else:
                confusions[task] = (labels, torch.from_numpy(result.counts))
        for task, question in _SEARCHED.items():
            recalls[task] = _recalls(asked.result(task, question)[0])
            numbers[f"{task}, R@1"] = recalls[task][0]
        calls, _ = asked.result("calls", _CALLS)
        numbers["animal sound (dog, cat, bird, frog) → photographs, P@5"] = calls.precision_at_5
        numbers |= {task: asked.result(task, question)[0].accuracy for task, question in _CHANGED.items()}
        for name in NOISY:
            numbers |= _fused(asked, name, head)
        for case, (question, others) in OFF_TOPIC.items():
            found = asked.result(f"off topic: {case}", question, others)[0].off_topic
            assert found is not None
            numbers[f"AUROC by top score: {case}"] = found.auroc_score
            numbers[f"AUROC by top probability: {case}"] = found.auroc_probability
    return Measured(numbers, recalls, confusions)


class _Asked:
    """A mesh and the held-out folders."""

    def __init__(self, client: Client, folder: Path, target: Path) -> None:
        self.client, self.folder, self._target = client, folder, target
        target.mkdir(parents=True, exist_ok=True)

    def result(
        self, task: str, question: Question, off_topic: str = "", *, is_chinese: bool = False
    ) -> tuple[Result, Sequence[str]]:
        """Returns what `sensorium evaluate` would, and the labels; writes it as JSON."""
        dataset = read_dataset(self.folder / question.folder)
        order = [label for label in LABELS if label in dataset.labels] or dataset.labels
        dataset = in_order(dataset, order)
        names: Sequence[str] = order
        if is_chinese:
            file = self.folder / (NAMES_ZH if order[0] in LABELS else CAPTIONS_ZH)
            called = read_names(file, order)
            names = [called[label] for label in order]
        others = read_unlabelled(self.folder / off_topic) if off_topic else {}
        mesh = Mesh(self.client, SPACE, (), 0)
        found = Evaluation(mesh, dataset, names, others).result(question.query, question.against)
        file = self._target / f"{''.join(each if each.isalnum() else '-' for each in task)}.json"
        file.write_text(json.dumps(found.facts(order), ensure_ascii=False), encoding="utf-8")
        return found, order


def _recalls(result: Result) -> tuple[float, ...]:
    return tuple(result.recall_at.values())


def _fused(asked: _Asked, name: str, head: ConceptHead) -> dict[str, float]:
    """Returns the accuracies of noisy pictures, noisy sounds, and both fused."""
    task = f"fusion, {name}: "
    numbers = {
        f"{task}{what} alone → word": asked.result(f"{name} {what}", Question(name, kind))[0].accuracy
        for what, kind in _ALONE.items()
    }
    pairs = sorted((asked.folder / name).glob("*/*.png"))
    truth = torch.tensor([LABELS.index(file.parent.name) for file in pairs])
    files: dict[str, Callable[[Path], list[Content]]] = {
        "fused": lambda file: [sensorium.image(file), sensorium.audio(file.with_suffix(".wav"))],
        "picture through fusion, sound missing": lambda file: [sensorium.image(file)],
        "sound through fusion, picture missing": lambda file: [sensorium.audio(file.with_suffix(".wav"))],
    }
    for what, parts in files.items():
        rows = torch.cat(list(_joined(asked.client, pairs, parts)))
        words = asked.client.embed([sensorium.text(label) for label in LABELS[:10]], space=SPACE).vectors
        numbers[f"{task}{what} → word"] = _share(rows @ torch.from_numpy(words).T, truth)
        if what == "fused":
            with torch.inference_mode():
                numbers[f"{task}concept head on the fused → word"] = _share(head(rows)[:, :10], truth)
    return numbers


_ALONE: Mapping[str, Kind] = {"picture": "image", "sound": "audio"}


def _joined(client: Client, files: Sequence[Path], parts: Callable[[Path], list[Content]]) -> Iterator[Tensor]:
    for at in range(0, len(files), _CHUNK):
        fused = client.fuse([parts(file) for file in files[at : at + _CHUNK]], space=SPACE)
        fused.raise_for_errors()
        yield torch.from_numpy(fused.vectors)


def _vectors(asked: Mesh, folder: Path, kind: Kind) -> Vectors:
    items = read_dataset(folder)
    order = {caption(scene): meanings.of_scene(scene) for scene in SCENES}
    order |= {label: meanings.of_label(place) for place, label in enumerate(LABELS)}
    rows = asked.embed(items.items[kind].inputs, f"embedding {folder.name}")
    said = [order[items.labels[place]] for place in items.items[kind].truth]
    return Vectors(torch.from_numpy(np.asarray(rows)), meanings.tensor(said))


def _share(logits: Tensor, truth: Tensor) -> float:
    return float((logits.argmax(1) == truth).float().mean())
