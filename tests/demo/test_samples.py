"""The samples of the demo: what an index must be, and what is said where it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sensorium.cli.demo.samples import INDEX, SamplesError, load_samples, pick
from tests.demo.tours import picture, png, sound, wav

_SHIPPED = Path(__file__).parents[2] / "demo" / "inputs"


def _write(folder: Path, *entries: dict[str, str]) -> Path:
    (folder / "a.png").write_bytes(png())
    (folder / "b.wav").write_bytes(wav())
    (folder / INDEX).write_text(json.dumps(entries))
    return folder


def test_samples_come_in_the_order_of_the_index_with_their_files(tmp_path: Path) -> None:
    folder = _write(
        tmp_path,
        {"file": "b.wav", "modality": "audio", "caption": "a tone"},
        {"file": "a.png", "modality": "image", "caption": "a dot"},
    )

    samples = load_samples(folder)

    assert [(sample.kind, sample.name, sample.path) for sample in samples] == [
        ("audio", "a tone", "demo/inputs/b.wav"),
        ("image", "a dot", "demo/inputs/a.png"),
    ]
    assert [sample.media for sample in samples] == [wav(), png()]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "lists no samples"),
        ([{"file": "gone.png", "modality": "image", "caption": "x"}], "gone.png is missing"),
        ([{"file": "a.png", "modality": "smell", "caption": "x"}], "'smell'"),
        ([{"file": "a.png", "modality": "image"}], "caption"),
    ],
)
def test_a_wrong_index_is_refused_by_name(tmp_path: Path, entries: list[dict[str, str]], said: str) -> None:
    with pytest.raises(SamplesError, match=said):
        load_samples(_write(tmp_path, *entries))


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match=r"samples\.json is missing"):
        load_samples(tmp_path)


def test_samples_are_picked_by_kind_and_meaning() -> None:
    circle, square, said = picture("circle", 1), picture("square", 2), sound("square")

    assert pick([circle, square, said], "image") == [circle, square]
    assert pick([circle, square, said], "audio", "square") == [said]
    with pytest.raises(SamplesError, match="no audio with the caption 'circle'"):
        pick([circle, square, said], "audio", "circle")


def test_the_shipped_index_lists_every_file_once() -> None:
    listed = [Path(sample.path).name for sample in load_samples(_SHIPPED)]

    assert sorted(listed) == sorted(file.name for file in _SHIPPED.iterdir() if file.name != INDEX)
