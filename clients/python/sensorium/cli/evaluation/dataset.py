"""Reads labelled things: a folder with one folder a label, or a folder with a list."""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensorium.cli.failures import UsageFault, say
from sensorium.cli.inputs import Input, Kind, dangling
from sensorium.cli.magic import HEAD_BYTES, Medium, medium_of, medium_of_name

MEDIA: tuple[Medium, ...] = ("image", "audio")
KINDS: tuple[Kind, ...] = (*MEDIA, "text")
_LISTS = ("labels.csv", "labels.jsonl")
_MOST_NAMED = 5  # of the files that are left out


@dataclass(frozen=True)
class Items:
    """Things of one kind.

    truth: (n,) int64, the place of each one's label.
    """

    inputs: Sequence[Input]
    truth: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Labelled things, by kind; only kinds of which there are some."""

    labels: Sequence[str]
    items: Mapping[Kind, Items]


def read_dataset(folder: Path) -> Dataset:
    """Returns what a folder holds: by its labels.csv or labels.jsonl, else by its folders.

    Raises:
        UsageFault: there is no such folder, nothing in it can be used, or a line of the list is wrong.
    """
    if not folder.is_dir():
        raise UsageFault(f"there is no folder {folder}; give one that has a folder for each label, or a labels.csv")
    lists = [folder / name for name in _LISTS if (folder / name).is_file()]
    if len(lists) > 1:
        raise UsageFault(f"{folder} has both {_LISTS[0]} and {_LISTS[1]}; keep one")
    labels = [] if lists else sorted(each.name for each in _visible(folder) if _is_folder(each))
    pairs = list(_listed(lists[0]) if lists else _of_folders(folder, labels))
    if all(each is None for _, each in pairs):
        raise UsageFault(
            f"{folder} holds nothing to evaluate; give it a folder for each label with pictures, sounds or .txt files "
            "in it, or a labels.csv"
        )
    return _dataset(pairs, labels or list(dict.fromkeys(label for label, _ in pairs)))


def read_unlabelled(folder: Path) -> Mapping[Kind, Sequence[Input]]:
    """Returns everything in a folder and the folders below it, or in its list, by kind.

    Raises:
        UsageFault: as `read_dataset`.
    """
    if folder.is_dir() and not any((folder / name).is_file() for name in _LISTS):
        found = list(_of_files(folder))
        if not found:
            raise UsageFault(f"{folder} holds no picture, no sound and no .txt file")
        return {kind: some for kind in KINDS if (some := [each for each in found if each.kind == kind])}
    return {kind: items.inputs for kind, items in read_dataset(folder).items.items()}


def limited(dataset: Dataset, most: int, seed: int) -> Dataset:
    """Returns at most so many things of each kind and label, drawn without replacement, in their order; 0 keeps all.

    What is drawn of a label depends on nothing but the seed and what the label has.
    """
    if not most:
        return dataset
    items = {}
    for kind, some in dataset.items.items():
        drawn = [
            _drawn(np.flatnonzero(some.truth == place), most, [seed, zlib.crc32(f"{kind} {label}".encode())])
            for place, label in enumerate(dataset.labels)
        ]
        kept = np.sort(np.concatenate(drawn))
        items[kind] = Items([some.inputs[at] for at in kept], some.truth[kept])
    return Dataset(dataset.labels, items)


def in_order(dataset: Dataset, labels: Sequence[str]) -> Dataset:
    """Returns the same things, with the labels in another order."""
    places = np.array([labels.index(label) for label in dataset.labels], np.int64)
    return Dataset(labels, {kind: Items(some.inputs, places[some.truth]) for kind, some in dataset.items.items()})


def read_names(file: Path, labels: Sequence[str]) -> Mapping[str, str]:
    """Returns the name to use for each label, in the order of the file: its columns are label and name.

    Raises:
        UsageFault: the file cannot be read, lacks a label, or gives two labels one name.
    """
    wanted = set(labels)
    names: dict[str, str] = {}
    for where, row in _rows(file, ("label", "name")):
        label, name = row["label"], row["name"]
        if not label or not name:
            raise UsageFault(f"{where}: has an empty {'name' if label else 'label'}")
        if label in names:
            raise UsageFault(f"{where}: {label!r} has a name already")
        names |= {label: name} if label in wanted else {}
    missing = [label for label in labels if label not in names]
    if missing:
        raise UsageFault(f"{file} gives no name for {', '.join(map(repr, missing))}")
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    if twice:
        raise UsageFault(f"{file} gives the name {min(twice)!r} to more than one label")
    return names


def _dataset(pairs: Sequence[tuple[str, Input | None]], labels: Sequence[str]) -> Dataset:
    place = {label: at for at, label in enumerate(labels)}
    items = {}
    for kind in KINDS:
        some = [(label, each) for label, each in pairs if each is not None and each.kind == kind]
        if some:
            items[kind] = Items([each for _, each in some], np.array([place[label] for label, _ in some], np.int64))
    return Dataset(labels, items)


def _drawn(places: NDArray[np.int64], most: int, seed: Sequence[int]) -> NDArray[np.int64]:
    if len(places) <= most:
        return places
    return np.random.default_rng(seed).choice(places, most, replace=False)


def _of_folders(folder: Path, labels: Iterable[str]) -> Iterator[tuple[str, Input | None]]:
    for label in labels:
        for each in _of_files(folder / label):
            yield label, each


def _of_files(folder: Path) -> Iterator[Input]:
    """Yields what the files of a folder and of those below it hold; what is none of the kinds is left out aloud."""
    others = []
    for path in _files(folder):
        found = _inputs(path)
        if found is None:
            others.append(path)
        yield from found or ()
    for path in others[:_MOST_NAMED]:
        say(f"{path} is left out: it is neither a known picture or sound nor a .txt file in UTF-8")
    if len(others) > _MOST_NAMED:
        say(f"{len(others) - _MOST_NAMED} more files of {folder} are left out")


def _files(folder: Path) -> Iterator[Path]:
    for each in _visible(folder):
        if each.is_file():
            yield each
        elif _is_folder(each) and not each.is_symlink():  # a link may lead back up
            yield from _files(each)


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder; one of a link to what is not there is said to be left out."""
    if broken := dangling(path):
        say(f"{path} is left out: it {broken}")
    return path.is_dir()


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as fault:
        raise UsageFault(f"{folder} cannot be read: {fault.strerror}") from None


def _inputs(path: Path) -> list[Input] | None:
    """Returns the picture or sound that a file is, or the texts that its lines are; None if it is neither."""
    texts = _texts(path) if path.suffix.lower() == ".txt" else None  # first: a text may start with BM, as pictures do
    if texts is not None:
        return texts
    try:
        with path.open("rb") as file:
            medium = medium_of(file.read(HEAD_BYTES)) or medium_of_name(path.name)
    except OSError as fault:
        raise UsageFault(f"{path} cannot be read: {fault.strerror}") from None
    return None if medium is None else [Input(medium, path)]


def _texts(path: Path) -> list[Input] | None:
    """Returns the lines of a file that are not blank; None if it is not in UTF-8."""
    try:
        return [Input("text", line.strip()) for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        return None
    except OSError as fault:
        raise UsageFault(f"{path} cannot be read: {fault.strerror}") from None


def _listed(file: Path) -> Iterator[tuple[str, Input | None]]:
    """Yields label and thing of each line of a list; None for a line with a label alone, which nothing may have."""
    for where, row in _rows(file, ("label",)):
        label, name, words, kind = (row.get(key) or "" for key in ("label", "file", "text", "modality"))
        if not label or (name and words):
            raise UsageFault(f"{where}: give a label, and either a file or a text")
        if not name and not words:
            yield label, None
            continue
        if kind and (kind not in KINDS or (words and kind != "text")):
            raise UsageFault(f"{where}: the modality is {kind!r}; give image, audio or text, and for a text only text")
        for each in [Input("text", words)] if words else _from_list(file.parent / name, kind, where):
            yield label, each


def _from_list(path: Path, kind: str, where: str) -> list[Input]:
    """Returns what a file of a list holds, of the kind that the list says or, where it says none, that it is."""
    if not path.is_file():
        broken = dangling(path)
        raise UsageFault(f"{where}: {path} {broken}" if broken else f"{where}: there is no file {path}")
    medium: Medium | None = next((each for each in MEDIA if each == kind), None)
    if medium is not None:
        return [Input(medium, path)]
    found = _texts(path) if kind == "text" else _inputs(path)
    if found is None:
        wanted = "text in UTF-8" if kind == "text" else "a known picture or sound, or a .txt file in UTF-8"
        raise UsageFault(f"{where}: {path} is not {wanted}")
    return found


def _rows(file: Path, columns: Iterable[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yields where each row of a list stands, and its values, which are strings without space around them."""
    try:
        text = file.read_text("utf-8-sig")  # spreadsheets write a mark of byte order first
    except UnicodeDecodeError:
        raise UsageFault(f"{file} is not in UTF-8") from None
    except OSError as fault:
        raise UsageFault(f"{file} cannot be read: {fault.strerror}") from None
    for line, row in _json_rows(file, text) if file.suffix == ".jsonl" else _csv_rows(file, text):
        lacking = [column for column in columns if column not in row]
        if lacking:
            raise UsageFault(f"{file}:{line}: has no {' and no '.join(lacking)}")
        yield f"{file}:{line}", row


def _csv_rows(file: Path, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    reader = csv.DictReader(text.splitlines(keepends=True), restval="", strict=True)
    try:
        for row in reader:
            yield reader.line_num, {(key or "").strip(): (value or "").strip() for key, value in row.items() if key}
    except csv.Error as fault:
        raise UsageFault(f"{file}:{reader.line_num}: {fault}") from None


def _json_rows(file: Path, text: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    for line, part in enumerate(text.split("\n"), 1):
        if not part.strip():
            continue
        try:
            row = json.loads(part)
        except ValueError as fault:
            raise UsageFault(f"{file}:{line}: is no JSON: {fault}") from None
        if not isinstance(row, dict):
            raise UsageFault(f"{file}:{line}: is no JSON object")
        yield line, {key: str(value).strip() for key, value in row.items() if isinstance(value, str | int | float)}
