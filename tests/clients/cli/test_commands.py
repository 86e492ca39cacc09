"""The commands against a real mesh: what they print, and the exit codes that scripts rely on."""

from __future__ import annotations

import io
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

import sensorium
from sensorium.cli.mesh import Mesh
from sensorium.cli.processes import code_root
from tests.clients.cli.conftest import Files, Run


def test_embed_gives_unit_vectors_of_one_space_for_any_mix(ask: Run, files: Files) -> None:
    done = ask("embed", "a red circle", files.red, files.tone, "--json")

    answer = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert [item["kind"] for item in answer["items"]] == ["text", "image", "audio"]
    vectors = np.array([item["vector"] for item in answer["items"]])
    assert vectors.shape == (3, answer["dim"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert answer["space"]
    assert answer["receipts"][0]["total_ns"] > 0


def test_embed_shows_a_table_without_colour_where_there_is_no_terminal(ask: Run, files: Files) -> None:
    done = ask("embed", "a red circle", files.red)

    assert done.code == 0
    assert "a red circle" in done.out
    assert "\x1b" not in done.out + done.err


def test_a_bad_item_fails_alone_is_named_and_makes_the_exit_code_1(ask: Run, files: Files) -> None:
    done = ask("embed", "words", files.broken, "--jsonl")

    first, second = map(json.loads, done.out.splitlines())
    assert done.code == 1
    assert "vector" in first
    assert second["error"]["code"] == "INVALID_ARGUMENT"
    assert second["error"]["field"] == "contents[1].image.data"
    assert str(files.broken)[-20:] in done.err


def test_many_inputs_go_in_chunks_and_errors_keep_their_place(
    ask: Run, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "\n".join(f"number {n}" for n in range(70))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(words.encode())))
    file = tmp_path / "vectors.npy"

    done = ask("embed", "-", files.broken, "--npy", file)

    vectors = np.load(file)
    assert (done.code, done.out) == (1, "")
    assert vectors.shape[0] == 71
    assert np.isnan(vectors).all(axis=1).nonzero()[0].tolist() == [70]


def test_a_field_path_in_a_later_chunk_names_the_place_among_all_inputs(ask: Run, files: Files) -> None:
    texts = [argument for n in range(40) for argument in ("-t", f"number {n}")]

    done = ask("embed", *texts, "-i", files.broken, "--json")

    assert json.loads(done.out)["items"][40]["error"]["field"] == "contents[40].image.data"


def test_compare_holds_queries_against_candidates(ask: Run, files: Files) -> None:
    done = ask("compare", files.red, "--with", files.red, "--with", files.blue, "--with-text", "red.png", "--json")

    answer = json.loads(done.out)
    assert done.code == 0
    assert [each["kind"] for each in answer["candidates"]] == ["image", "image", "text"]
    assert answer["scores"][0][0] == pytest.approx(1.0, abs=1e-4)
    assert answer["scores"][0][0] > answer["scores"][0][1]
    assert sum(answer["probabilities"][0]) == pytest.approx(1.0, abs=1e-4)


def test_compare_without_candidates_holds_everything_against_everything(ask: Run, files: Files, tmp_path: Path) -> None:
    done = ask("compare", files.red, files.broken, "words", "--npy", tmp_path / "scores.npy")

    scores = np.load(tmp_path / "scores.npy")
    assert done.code == 1
    assert scores.shape == (3, 3)
    assert np.isnan(scores).tolist() == [[False, True, False], [True, True, True], [False, True, False]]


def test_compare_lists_the_best_of_many_candidates(ask: Run) -> None:
    done = ask("compare", "seven", *(f"--with={word}" for word in ("one", "two", "seven")), "--top-k", "1")

    assert done.code == 0
    assert "“seven”" in done.out
    assert "“one”" not in done.out


def test_classify_by_names_and_by_examples(ask: Run, files: Files) -> None:
    done = ask("classify", files.red, "--tag", f"r={files.red}", "--tag", f"b={files.blue}", "-l", "a dog", "--json")

    labels = json.loads(done.out)["items"][0]["labels"]
    assert done.code == 0
    assert labels[0]["name"] == "r"
    assert sum(label["probability"] for label in labels) == pytest.approx(1.0, abs=1e-4)


def test_classify_keeps_the_best_of_each_input(ask: Run, files: Files) -> None:
    done = ask(
        "classify", files.red, files.broken, "-l", f"red={files.red},{files.red}", "-l", "x", "--top-k", "1", "--jsonl"
    )

    good, bad = map(json.loads, done.out.splitlines())
    assert done.code == 1
    assert [label["name"] for label in good["labels"]] == ["red"]
    assert bad["error"]["reason"] == "MEDIA_TRUNCATED"


def test_classify_says_that_probably_none_of_the_labels_fits(ask: Run, files: Files) -> None:
    """A tone is no word, however the probabilities are shared out; a label that is named fits itself."""
    digits = ["-l", "three", "-l", "seven"]
    tone = json.loads(ask("classify", files.tone, *digits, "--json").out)["items"][0]
    word = json.loads(ask("classify", "-t", "three", *digits, "--json").out)["items"][0]
    shown = ask("classify", files.tone, *digits)

    assert tone["is_unsure"]
    assert tone["labels"][0]["score"] < tone["none_cosine"]
    assert sum(label["probability"] for label in tone["labels"]) == pytest.approx(1.0, abs=1e-4)
    assert not word["is_unsure"]
    assert "probably none of these" in shown.out
    assert "probably none of these" not in ask("classify", "-t", "three", *digits).out


def test_predict_names_the_class_of_each_input_and_a_bad_one_fails_alone(ask: Run, files: Files) -> None:
    done = ask("predict", "three", files.broken, "seven", "--top-k", "1", "--json")

    three, broken, seven = json.loads(done.out)["items"]
    assert done.code == 1
    assert [each["classes"][0]["label"] for each in (three, seven)] == ["three", "seven"]
    assert 0 < three["classes"][0]["probability"] <= 1
    assert broken["error"]["field"] == "contents[1].image.data"
    assert "three" in ask("predict", "three").out
    assert ask("predict", "three", "--model", "nobody").code == 4


def test_tokenize_shows_what_the_model_sees(ask: Run) -> None:
    done = ask("tokenize", "a red circle", "--json")

    (item,) = json.loads(done.out)["items"]
    assert done.code == 0
    assert len(item["ids"]) == len(item["pieces"]) > 0
    assert "red" in " ".join(item["pieces"])
    assert "red" in ask("tokenize", "a red circle").out


def test_windows_of_a_sound_come_with_their_times(ask: Run, files: Files, tmp_path: Path) -> None:
    cut = ["--window-ms", "500", "--hop-ms", "250"]
    done = ask("embed", files.tone, *cut, "--json", "--npy", tmp_path / "windows.npy")
    shown = ask("embed", files.tone, *cut)
    line = json.loads(ask("embed", files.tone, *cut, "--jsonl").out)

    answer = json.loads(done.out)
    windows = answer["items"][0]["windows"]
    assert (done.code, answer["space"], line["space"]) == (0, "tiny@1", "tiny@1")
    assert line["windows"] == windows
    assert [(each["start_ms"], each["end_ms"]) for each in windows[:3]] == [(0, 500), (250, 750), (500, 1000)]
    assert np.load(tmp_path / "windows.npy").shape == (len(windows), len(windows[0]["vector"]))
    assert "250" in shown.out
    assert ask("embed", "words", *cut).code == 2
    assert ask("embed", files.tone, "--hop-ms", "250").code == 2
    assert ask("embed", files.tone, "--window-ms", "10").code == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("embed", "a", "--prompt", "query"),
        ("compare", "a", "--with-text", "b", "--query-prompt", "query"),
        ("compare", "a", "--with-text", "b", "--candidate-prompt", "query"),
        ("classify", "a", "-l", "b", "--prompt", "query"),
        ("classify", "a", "-l", "b", "--label-prompt", "query"),
        ("fuse", "a", "--prompt", "query"),
        ("predict", "a", "--prompt", "query"),
        ("tokenize", "a", "--prompt", "query"),
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[-2]}",
)
def test_a_prompt_that_the_model_lacks_is_refused_with_those_that_it_has(ask: Run, arguments: tuple[str, ...]) -> None:
    done = ask(*arguments)

    assert done.code == 4
    assert "is 'query'; the prompts of the space tiny@1 are none" in done.err


def test_fuse_goes_on_without_a_broken_part_if_it_may(ask: Run, files: Files) -> None:
    whole = ask("fuse", "a tone", files.tone, "--weight", "text=0.5", "--json")
    partial = ask("fuse", "a tone", files.broken, "--allow-partial", "--json")
    refused = ask("fuse", "a tone", files.broken)

    assert (whole.code, json.loads(whole.out)["modalities"]) == (0, ["text", "audio"])
    assert (partial.code, json.loads(partial.out)["modalities"]) == (1, ["text"])
    assert json.loads(partial.out)["parts"][1]["error"]["reason"] == "MEDIA_TRUNCATED"
    assert refused.code == 4
    assert "broken.png: " in refused.err


def test_status_and_models_describe_the_mesh(ask: Run, run: Run, mesh: Mesh) -> None:
    status = ask("status", "--json")
    listed = json.loads(run("models", "list", "--json", "--address", mesh.address).out)
    shown = json.loads(run("models", "show", listed[0]["name"], "--json", "--address", mesh.address).out)

    services = json.loads(status.out)["services"]
    assert status.code == 0
    assert {each["name"] for each in services} == {"text", "vision", "audio", "fusion", "orchestrator"}
    assert {each["state"] for each in services} == {"serving"}
    assert shown == listed[0]
    assert ask("status").out.count("serving") == 5
    assert run("models", "show", "nope", "--address", mesh.address).code == 4


def test_models_verify_finds_a_file_that_was_changed(run: Run, tmp_path: Path) -> None:
    package = tmp_path / "tiny-text" / "1"
    shutil.copytree(code_root() / "models" / "tiny-text" / "1", package)

    good = run("models", "verify", "tiny-text", "--models", tmp_path)
    (package / "tokenizer.json").write_text("{}")
    bad = run("models", "verify", "--models", tmp_path, "--json")

    assert good.code == 0
    assert bad.code == 1
    assert "tokenizer.json" in json.loads(bad.out)[0]["problem"]
    assert run("models", "verify", "nope", "--models", tmp_path).code == 4


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["embed"], "nothing to embed"),
        (["embed", "nope.png"], "nope.png"),
        (["embed", "-i", "nope"], "names no file"),
        (["embed", "words", "--json", "--jsonl"], "exclude each other"),
        (["embed", "words", "--npy", "no/such/folder/x.npy"], "no folder"),
        (["embed", "words", "--dimensions", "-1"], "dimensions"),
        (["compare", "alone"], "nothing to compare"),
        (["classify", "words"], "--label"),
        (["classify", "words", "--label", "x="], "NAME=FILE"),
        (["classify", "words", "--tag", "x"], "NAME=FILE"),
        (["classify", "words", "--label", "x=nope.png"], "names no file"),
        (["fuse", "words", "--weight", "image=heavy"], "KIND=NUMBER"),
        (["fuse", "words", "--weight", "smell=1"], "text, image or audio"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_usage_is_said_in_a_line_and_exits_with_2(run: Run, arguments: list[str], problem: str) -> None:
    done = run(*arguments)

    assert (done.code, done.out) == (2, "")
    assert problem in done.err
    assert "Traceback" not in done.err


def test_arguments_that_are_no_utf_8_are_said_in_a_line(ask: Run, run: Run) -> None:
    latin = "caf\udce9"  # what the byte E9 becomes

    for arguments in (["embed", "x", "--space", latin], ["classify", "x", "-l", latin, "-l", "b"]):
        done = ask(*arguments)
        assert done.code == 2
        assert "no UTF-8" in done.err
    mixed = ask("embed", latin, "x", "--jsonl")
    assert mixed.code == 1
    assert "no UTF-8" in mixed.err
    assert run("status", "--address", "").code == 2


def test_a_refused_request_exits_with_4_and_a_late_or_missing_mesh_with_3(ask: Run, run: Run) -> None:
    refused = ask("embed", "words", "--space", "nope@1")
    late = ask("embed", "words", "--timeout", "0.001")
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        missing = run("embed", "words", "--address", f"127.0.0.1:{taken.getsockname()[1]}")

    assert (refused.code, late.code, missing.code) == (4, 3, 3)
    assert "nope@1" in refused.err
    assert "sensorium up" in missing.err
    assert missing.err.count("\n") == 1


@pytest.mark.parametrize("command", ["up", "embed", "compare", "classify", "fuse", "status", "version"])
def test_help_has_examples_and_exit_codes(run: Run, command: str) -> None:
    done = run(command, "--help")

    assert done.code == 0
    assert "Examples" in done.out
    assert f"sensorium {command}" in done.out
    assert "Exit codes" in done.out


def test_serve_leaves_the_flags_to_the_service(run: Run) -> None:
    assert "--max-text-bytes" in run("serve", "text", "--help").out
    assert "SENSORIUM_PORT" in run("serve", "text", "--port", "x").err


def test_version_names_what_is_installed(run: Run) -> None:
    assert json.loads(run("version", "--json").out)["sensorium"] == sensorium.__version__
