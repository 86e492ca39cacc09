"""What `sensorium evaluate` takes folders and lists for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sensorium.cli.evaluation.dataset import in_order, limited, read_dataset, read_names, read_unlabelled
from sensorium.cli.failures import UsageFault
from tests.clients.cli.conftest import Files

_CHINESE = "label,name\nseven,七\nthree,三\nfour,四\nunused,猫\n"


@pytest.fixture
def digits(tmp_path: Path, files: Files) -> Path:
    """Pictures, a sound and texts of three digits, and a fourth label without anything."""
    folder = tmp_path / "digits"
    for label in ("three", "four", "seven", "nine"):
        (folder / label).mkdir(parents=True)
    for label, file, name in (("four", files.red, "4.png"), ("seven", files.blue, "7a.dat"), ("seven", files.red, "7b"),
                              ("seven", files.tone, "7.png")):  # fmt: skip
        shutil.copy(file, folder / label / name)
    (folder / "three" / "phrases.txt").write_text("the digit three\n\n  three \n")
    return folder


def test_a_folder_gives_its_labels_and_what_is_in_them_by_bytes(digits: Path) -> None:
    data = read_dataset(digits)

    assert data.labels == ["four", "nine", "seven", "three"]
    assert {kind: items.truth.tolist() for kind, items in data.items.items()} == {
        "image": [0, 2, 2],
        "audio": [2],  # whatever it is called
        "text": [3, 3],
    }
    assert [each.source for each in data.items["text"].inputs] == ["the digit three", "three"]


def test_texts_that_start_like_a_picture_are_texts_and_other_files_are_left_out_aloud(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("cars/deep/bmw.txt", "BMW"), ("cars/README.md", "about"), ("cars/.hidden.txt", "no car")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    data = read_dataset(tmp_path)

    assert [each.source for each in data.items["text"].inputs] == ["BMW"]
    assert "README.md is left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "labels.csv",
            "\ufefffile,text,label,modality\nred.png,,red,\n,a red square,red,text\nwords.md,,blue,text\n,,green\n",
        ),
        (
            "labels.jsonl",
            (
                '{"file": "red.png", "label": "red", "id": 7}\n\n{"text": "a red square", "label": "red"}\n'
                '{"file": "words.md", "label": "blue", "modality": "text"}\n{"label": "green"}'
            ),
        ),
    ],
)
def test_a_list_gives_files_and_texts(tmp_path: Path, files: Files, name: str, content: str) -> None:
    shutil.copy(files.red, tmp_path)
    (tmp_path / "words.md").write_text("sky\nsea\n")
    (tmp_path / name).write_text(content, "utf-8")

    data = read_dataset(tmp_path)

    assert data.labels == ["red", "blue", "green"]
    assert [each.name for each in data.items["image"].inputs] == [str(tmp_path / "red.png")]
    assert [each.source for each in data.items["text"].inputs] == ["a red square", "sky", "sea"]
    assert data.items["text"].truth.tolist() == [0, 1, 1]
    assert {kind: len(some) for kind, some in read_unlabelled(tmp_path).items()} == {"image": 1, "text": 3}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a.png,,", "labels.csv:2: give a label, and either a file or a text"),
        (",,cat", "holds nothing to evaluate"),
        ("a.png,meow,cat", "either a file or a text"),
        ("a.png,,cat", "there is no file"),
        (",meow,cat,audio", "the modality is 'audio'"),
    ],
)
def test_a_wrong_line_of_a_list_is_named(tmp_path: Path, row: str, problem: str) -> None:
    (tmp_path / "labels.csv").write_text(f"file,text,label,modality\n{row}\n")

    with pytest.raises(UsageFault, match=problem):
        read_dataset(tmp_path)


def test_a_limit_draws_of_each_label_and_kind_and_the_seed_decides(tmp_path: Path) -> None:
    for label, count in (("many", 40), ("few", 2)):
        (tmp_path / label).mkdir()
        (tmp_path / label / "lines.txt").write_text("\n".join(f"{label} {at}" for at in range(count)))
    data = read_dataset(tmp_path)

    drawn = [limited(data, 5, seed).items["text"] for seed in (1, 1, 2)]

    assert drawn[0].truth.tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert drawn[0].inputs == drawn[1].inputs != drawn[2].inputs
    assert limited(data, 0, 1) is data


def test_names_replace_labels_in_their_own_order(tmp_path: Path, digits: Path) -> None:
    file = tmp_path / "names.csv"
    file.write_text("label,name\nthree,三\nfour,四\nseven,七\nnine,九\n", "utf-8")
    data = read_dataset(digits)

    names = read_names(file, data.labels)

    assert list(names.values()) == ["三", "四", "七", "九"]
    assert in_order(data, list(names)).items["image"].truth.tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (_CHINESE, "no name for 'nine'"),
        (_CHINESE + "nine,七\n", "the name '七' to more than one"),
        ("label,title\na,b\n", "has no name"),
    ],
)
def test_names_that_do_not_serve_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "names.csv"
    file.write_text(text, "utf-8")

    with pytest.raises(UsageFault, match=problem):
        read_names(file, ["three", "four", "seven", "nine"])
