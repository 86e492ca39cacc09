"""What an argument means: a file, a glob, stdin, a text, or a slip."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from sensorium.cli.failures import UsageFault
from sensorium.cli.inputs import Input, chunks, read_files, read_inputs, read_mixed
from sensorium.cli.magic import medium_of
from tests.clients.cli.conftest import Files


@pytest.mark.parametrize(
    ("head", "medium"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", None),
        (b"\xff\xfb\x90\x64", "audio"),
        (b"ID3\x04", "audio"),
        (b"\xff\xff\xff\xff", None),
        (b"a red circle", None),
        (b"", None),
    ],
)
def test_media_are_known_by_their_first_bytes(head: bytes, medium: str | None) -> None:
    assert medium_of(head) == medium


def test_a_file_is_known_by_its_bytes_and_not_by_its_name(files: Files, tmp_path: Path) -> None:
    misnamed = tmp_path / "picture.wav"
    misnamed.write_bytes(files.red.read_bytes())

    assert read_mixed(str(misnamed)) == [Input("image", misnamed)]


def test_whatever_is_no_file_is_a_text() -> None:
    for words in ("seven", "what is this?", "a [red] circle *", "你好", "docs/readme", "3.14", "", ".", "x" * 5000):
        assert read_mixed(words) == [Input("text", words)]


def test_a_missing_media_file_is_a_slip_and_not_a_text() -> None:
    for slip in ("nope.png", "a/b/nope.WAV", "*.jpg", "what is in photo.jpeg"):
        with pytest.raises(UsageFault, match="--text"):
            read_mixed(slip)


def test_a_glob_gives_its_media_in_order_and_says_what_it_leaves_out(
    files: Files, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, source in (("b.png", files.blue), ("a.png", files.red)):
        (tmp_path / name).write_bytes(source.read_bytes())
    (tmp_path / "notes.txt").write_text("words")

    assert [each.name for each in read_mixed(f"{tmp_path}/*")] == [f"{tmp_path}/a.png", f"{tmp_path}/b.png"]
    assert "notes.txt is left out" in capsys.readouterr().err


def test_a_file_that_is_no_medium_is_refused(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("words")

    with pytest.raises(UsageFault, match="neither a picture nor a sound"):
        read_mixed(str(notes))
    with pytest.raises(UsageFault, match="names no file"):
        read_files(str(tmp_path / "missing.png"))
    with pytest.raises(UsageFault, match="is a folder"):
        read_inputs(images=[str(tmp_path)])


def test_stdin_is_a_file_or_a_text_a_line(files: Files) -> None:
    picture = files.red.read_bytes()

    assert read_mixed("-", io.BytesIO(picture)) == [Input("image", picture)]
    assert read_mixed("-", io.BytesIO(b"one\n\n two \n")) == [Input("text", "one"), Input("text", "two")]
    assert read_inputs(sounds=["-"], stdin=io.BytesIO(b"\x00")) == [Input("audio", b"\x00")]
    with pytest.raises(UsageFault, match="UTF-8"):
        read_mixed("-", io.BytesIO(b"\xfe\xfe"))
    with pytest.raises(UsageFault, match="only once"):
        read_inputs(["-"], images=["-"], stdin=io.BytesIO(picture))


def test_explicit_options_come_after_arguments_and_are_taken_at_their_word(files: Files) -> None:
    given = read_inputs(["seven"], ["nope.png"], [str(files.tone)], [str(files.tone)])

    assert given == [
        Input("text", "seven"),
        Input("text", "nope.png"),
        Input("image", files.tone),
        Input("audio", files.tone),
    ]


def test_chunks_are_bounded_in_number_and_size_and_lose_nothing() -> None:
    inputs = [Input("text", "x" * size) for size in (1, 1, 1, 50, 1, 9, 9)]

    found = [list(each) for each in chunks(inputs, most_items=3, most_bytes=10)]

    assert [[each.size_bytes for each in chunk] for chunk in found] == [[1, 1, 1], [50], [1, 9], [9]]


def test_a_file_whose_bytes_say_nothing_is_what_its_name_claims_so_that_the_mesh_refuses_it_alone(
    tmp_path: Path,
) -> None:
    for name, kind in (("broken.JPG", "image"), ("broken.wav", "audio")):
        file = tmp_path / name
        file.write_bytes(b"")
        assert read_mixed(str(file)) == [Input(kind, file)]  # type: ignore[arg-type]  # one of the three
