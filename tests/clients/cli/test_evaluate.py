"""`sensorium evaluate` on a real mesh: its tables, JSON, picture and exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from sensorium.cli.evaluation.picture import drawn
from sensorium.cli.evaluation.results import Result
from sensorium.cli.processes import code_root
from tests.clients.cli.conftest import Files, Run

_INPUTS = code_root() / "demo" / "inputs"
_DIGITS = {
    "three": ["digit-3-11.png", "spoken-three-en-gb.wav"],
    "four": ["digit-4-12.png", "spoken-four-en-us-m3.wav"],
    "seven": ["digit-7-13.png", "digit-7-14.png", "spoken-seven-en-us.wav", "spoken-seven-en-gb-f2.wav"],
}
_CHINESE = "label,name\nseven,七\nthree,三\nfour,四\nnine,九\n"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, sounds and texts of three digits, and a fourth label without anything."""
    folder = tmp_path_factory.mktemp("digits")
    for label, files in _DIGITS.items():
        (folder / label).mkdir()
        for file in files:
            shutil.copy(_INPUTS / file, folder / label)
        (folder / label / "phrases.txt").write_text(f"the digit {label}\n\n{label}\n")
    (folder / "nine").mkdir()
    return folder


def test_names_are_told_for_every_kind_and_all_numbers_come_as_json(ask: Run, digits: Path) -> None:
    done = ask("evaluate", digits, "--json")

    answer = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert [(each["query"], each["against"], each["items"]) for each in answer["results"]] == [
        ("image", "names", 4),
        ("audio", "names", 4),
        ("text", "names", 6),
    ]
    assert [each["label"] for each in answer["labels"]] == ["four", "nine", "seven", "three"]
    assert answer["space"]
    assert all(answer["models"].values())
    for each in answer["results"]:
        assert each["accuracy"] == each["recall_at"]["1"] >= 0.75
        assert each["recall_at"]["5"] is None  # of four names
        assert sum(map(sum, each["confusion"])) == each["items"] == sum(bin_["items"] for bin_ in _bins(each))
        assert 0 <= each["calibration"]["expected_calibration_error"] <= 1
        nine = each["classes"][1]
        assert (nine["items"], nine["recall"], nine["f1"]) == (0, None, None)


def test_sounds_find_pictures_and_pictures_find_other_pictures(ask: Run, digits: Path) -> None:
    done = ask("evaluate", digits, "--query", "audio", "--query", "image", "--against", "image", "--json")

    pictures, sounds = json.loads(done.out)["results"]
    assert done.code == 0
    assert (pictures["query"], pictures["items"], pictures["left_out"], pictures["candidates"]) == ("image", 2, 2, 3)
    assert (sounds["query"], sounds["items"], sounds["left_out"], sounds["candidates"]) == ("audio", 4, 0, 4)
    assert sounds["recall_at"]["1"] >= 0.75
    assert sounds["accuracy"] >= 0.75
    assert sounds["calibration"] is sounds["precision_at_5"] is None


def test_people_get_tables_and_a_picture_and_off_topic_things_are_told(ask: Run, digits: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for file in ("two-small-red-circles.png", "synthesised-cow.flac"):
        shutil.copy(_INPUTS / file, others)
    names, picture = tmp_path / "names.csv", tmp_path / "confusion.svg"
    names.write_text(_CHINESE, "utf-8")

    done = ask(
        "evaluate", digits, "--query", "image", "--names", names, "--off-topic", others, "--picture", picture,
        "--limit", 1,
    )  # fmt: skip

    assert done.code == 0
    assert "image → names" in done.out
    assert "AUROC against what is off topic (1)" in done.out
    assert "1 seven" in done.out  # in the order of the names
    assert ET.parse(picture).getroot().tag.endswith("svg")


def test_things_that_fail_are_counted_named_and_make_the_exit_code_1(
    ask: Run, digits: Path, files: Files, tmp_path: Path
) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(digits, folder)
    shutil.copy(files.broken, folder / "nine")

    done = ask("evaluate", folder, "--query", "image", "--against", "names", "--against", "text", "--json")

    answer = json.loads(done.out)
    assert done.code == 1
    assert [(each["items"], each["failed"]) for each in answer["results"]] == [(4, 1), (4, 1)]
    assert [Path(each["name"]).name for each in answer["errors"]] == ["broken.png"]
    assert done.err.count("broken.png") == 1


def test_things_of_many_calls_keep_their_labels(ask: Run, tmp_path: Path) -> None:
    for label in ("cat", "ship"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "lines.txt").write_text(f"{label}\n" * 50)

    done = ask("evaluate", tmp_path, "--template", "{}", "--against", "names", "--against", "text", "--json")

    named, found = json.loads(done.out)["results"]
    assert done.code == 0
    assert named["confusion"] == found["confusion"] == [[50, 0], [0, 50]]
    assert found["recall_at"] == {"1": 1.0, "5": 1.0, "10": 1.0}
    assert found["precision_at_5"] == 1.0


def test_where_all_things_of_a_kind_fail_their_numbers_are_null(ask: Run, files: Files, tmp_path: Path) -> None:
    (tmp_path / "nine").mkdir()
    shutil.copy(files.broken, tmp_path / "nine")
    (tmp_path / "nine" / "words.txt").write_text("nine")

    done = ask(
        "evaluate", tmp_path, *(part for to in ("names", "text", "image") for part in ("--against", to)), "--json"
    )

    results = {(each["query"], each["against"]): each for each in json.loads(done.out)["results"]}
    assert done.code == 1
    for target in ("names", "text", "image"):
        each = results["image", target]
        assert (each["items"], each["failed"], each["accuracy"], each["recall_at"]["1"]) == (0, 1, None, None)
        assert each["calibration"] is None
    assert results["text", "image"]["left_out"] == 1


def test_too_many_failures_end_it(ask: Run, digits: Path, files: Files, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(digits, folder)
    shutil.copy(files.broken, folder / "nine")

    done = ask("evaluate", folder, "--max-errors", 0, "--json")

    assert (done.code, done.out) == (4, "")
    assert "gave up, as more than 0 items failed" in done.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["{empty}"], "holds nothing to evaluate"),
        (["{digits}", "--picture", "confusion.png"], "must end in .svg"),
        (["{digits}", "--picture", "nowhere/confusion.svg"], "there is no folder nowhere"),
        (["{digits}/three/..", "--off-topic", "{empty}"], "holds no picture"),
        (["{digits}", "--off-topic", "{digits}", "--against", "image"], "lacks names"),
        (["{texts}", "--query", "image"], "--query image: the folder has none; it has text"),
        (["{texts}", "--against", "audio"], "--against audio: the folder has none; it has text"),
    ],
)
def test_wrong_usage_is_said_before_a_mesh_is_needed(
    run: Run, digits: Path, tmp_path: Path, arguments: list[str], problem: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts" / "a").mkdir(parents=True)
    (tmp_path / "texts" / "a" / "a.txt").write_text("a\n")
    places = {"digits": digits, "empty": tmp_path / "empty", "texts": tmp_path / "texts"}

    done = run("evaluate", *(each.format(**places) for each in arguments))

    assert (done.code, done.out) == (2, "")
    assert problem in done.err


def test_no_mesh_is_exit_code_3(run: Run, digits: Path) -> None:
    done = run("evaluate", digits, "--address", "127.0.0.1:1", "--timeout", "5")

    assert done.code == 3
    assert "no mesh answers" in done.err


def test_help_has_examples(run: Run) -> None:
    done = run("evaluate", "--help")

    assert done.code == 0
    assert "sensorium evaluate digits" in done.out


def test_the_picture_is_xml_with_a_cell_for_each_pair_and_escapes_labels() -> None:
    counts = np.array([[3, 1], [0, 0]], np.int64)
    result = Result("image", "names", 4, 0, 0, 2, counts, {1: 0.75})

    root = ET.fromstring(drawn([result, result], ["<cat> & 猫", "dog\x01"]))

    titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[1:5] == [
        "<cat> & 猫 taken for <cat> & 猫: 3 of 4",
        "<cat> & 猫 taken for dog�: 1 of 4",
        "dog� taken for <cat> & 猫: 0 of 0",
        "dog� taken for dog�: 0 of 0",
    ]
    assert len(titles) == 1 + 2 * 4


def _bins(result: dict[str, dict[str, list[dict[str, int]]]]) -> list[dict[str, int]]:
    return result["calibration"]["bins"]
