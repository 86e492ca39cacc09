"""What is measured of a run, and the report of it, on towers that learned nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from training import meanings  # noqa: E402 - after the skip
from training.calibration import (  # noqa: E402
    Answers,
    calibrate,
    calibration_errors,
    error_by_chance,
    expected_calibration_error,
    halves,
    held_out_answers,
)
from training.captions import SCENES, all_captions  # noqa: E402
from training.card import model_card  # noqa: E402
from training.concepts import LABELS, all_names  # noqa: E402
from training.contrastive import Towers  # noqa: E402
from training.evaluation import Encoder, Vectors, confusion, held_out_vectors, measure, scene_recalls  # noqa: E402
from training.latency import measure_latency  # noqa: E402
from training.offtopic import auroc, measure_off_topic, nonsense_pictures, nonsense_sounds  # noqa: E402
from training.prepare import Images, Prepared, Sounds  # noqa: E402
from training.report import Goal, goals, groups, write_report  # noqa: E402
from training.robustness import enlarge, white_noise  # noqa: E402
from training.settings import DIM, Settings  # noqa: E402
from training.tokenizer import train_tokenizer  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Threads cost more than they save on towers and batches this small."""
    torch.set_num_threads(1)


def small_encoder(towers: Towers) -> Encoder:
    names = [name for label in range(len(LABELS)) for name in all_names(label)]
    return Encoder(towers, train_tokenizer([*names, *all_captions()]))


def small_towers() -> Towers:
    torch.manual_seed(0)
    towers = Towers(1024)
    towers.eval()
    return towers


def small_check() -> Prepared:
    rng = np.random.default_rng(0)

    def images(said: list[meanings.Meaning]) -> Images:
        return Images(rng.integers(0, 255, (len(said), 32, 32, 3), dtype=np.uint8), said)

    def sounds(said: list[meanings.Meaning]) -> Sounds:
        return Sounds([rng.uniform(-1, 1, (64, 16)).astype(np.float16) for _ in said], said)

    digits, things, animals = (
        [meanings.of_label(i) for i in range(*span)] * 2 for span in ((0, 10), (10, 20), (10, 26))
    )
    names, scenes = [*digits, *animals], [meanings.of_scene(scene) for scene in SCENES]
    animals = [meaning for meaning in animals if LABELS[meaning[0]] in {"dog", "cat", "bird", "frog", "cow", "lion"}]
    return Prepared(
        {
            "photographs": images(things),
            "handwritten": images(digits),
            "typed": images(digits),
            "scenes": images(scenes),
        },
        {"spoken": sounds(digits), "animals": sounds(animals), "words": sounds(names), "phrases": sounds(scenes)},
    )


def test_a_run_ends_in_a_report_and_a_card_with_its_numbers(tmp_path: Path) -> None:
    line = {"step": 0, "image-text": 2.0, "sound-text": 2.0, "image-sound": 2.0, "fields": 9.0, "scale": 15.0}
    (tmp_path / "towers.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(line | {'step': 20})}\n")
    encoder, check = small_encoder(small_towers()), small_check()
    vectors = held_out_vectors(encoder, check)
    calibration, answers = calibrate(encoder, vectors), held_out_answers(encoder, vectors)
    numbers = measure(encoder, check, vectors) | calibration_errors(answers)
    numbers |= measure_off_topic(encoder, check, vectors, calibration)
    page = write_report(tmp_path, encoder, vectors, answers, numbers).read_text(encoding="utf-8")
    card = model_card(numbers, calibration, Settings(), 60.0)
    assert page.count("<img ") == len(list((tmp_path / "report").glob("*.png"))) == 5
    for task in numbers:
        assert task in page or "by chance" in task
        assert task.partition(": ")[2] in card if ": " in task else task in card


def test_a_matrix_holds_every_item_once() -> None:
    encoder, check = small_encoder(small_towers()), small_check()
    counts = confusion(encoder, encoder.images(check.images["handwritten"]), LABELS[:10])
    assert counts.shape == (10, 10)
    assert counts.sum(1).tolist() == [2] * 10


def test_more_candidates_are_recalled_among_more() -> None:
    encoder, check = small_encoder(small_towers()), small_check()
    for found in scene_recalls(encoder, held_out_vectors(encoder, check)).values():
        assert 0 <= found[0] <= found[1] <= found[2] <= 1


def test_halves_share_no_item_and_each_meaning() -> None:
    said = meanings.tensor([meanings.of_label(i % 5) for i in range(40)])
    vectors = Vectors(torch.arange(40)[:, None].expand(-1, DIM).float(), said)
    one, other = halves(vectors)
    assert sorted([*one.rows[:, 0].tolist(), *other.rows[:, 0].tolist()]) == list(range(40))
    assert torch.bincount(one.labels).tolist() == torch.bincount(other.labels).tolist() == [4] * 5
    assert torch.equal(one.rows, halves(vectors)[0].rows)


def test_an_error_is_the_gap_between_probability_and_accuracy() -> None:
    top = torch.tensor([0.9] * 10 + [0.5] * 10)
    right = torch.tensor([1.0] * 10 + [1.0, 0.0] * 5)
    assert expected_calibration_error(top, right) == pytest.approx(0.05, abs=1e-6)


def test_fewer_items_err_more_by_chance() -> None:
    rows = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    many, few = (error_by_chance(Answers(rows[:n], torch.zeros(n, dtype=torch.long))) for n in (2000, 50))
    assert many < few


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    assert auroc(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0])) == 1
    assert auroc(torch.tensor([1.0, 1.0]), torch.tensor([1.0])) == 0.5
    assert auroc(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 4.0])) == 0.25


def test_nonsense_is_the_same_from_the_same_seed() -> None:
    photographs = np.arange(4 * 32 * 32 * 3, dtype=np.uint8).reshape(4, 32, 32, 3)
    one, two = (nonsense_pictures(photographs, np.random.default_rng(0)) for _ in range(2))
    assert one.pixels.shape == (500, 32, 32, 3)
    assert np.array_equal(one.pixels, two.pixels)
    scrambled = one.pixels[-1]
    assert any(np.array_equal(np.sort(scrambled, None), np.sort(photo, None)) for photo in photographs)
    sounds = nonsense_sounds(np.random.default_rng(0))
    assert all(np.isfinite(clip).all() and clip.shape[0] == 64 for clip in sounds.features)


def test_white_noise_has_the_power_that_is_asked_for() -> None:
    samples = np.sin(np.arange(16000) / 5).astype(np.float32)
    noise = white_noise(samples, 10.0, np.random.default_rng(0)) - samples
    assert 10 * np.log10(np.mean(samples**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.2)


def test_an_enlarged_picture_comes_back_nearly_the_same() -> None:
    smooth = np.linspace(0, 255, 32).astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(smooth[:, None], smooth[None], np.uint8(90)), 2)
    assert np.abs(enlarge(picture).astype(int) - picture).max() <= 4


def test_goals_follow_the_numbers_that_they_depend_on() -> None:
    numbers = {
        "photograph → class name": 0.9,
        "photograph → class name, Chinese names": 0.87,
        "fusion, both noisy: picture alone → word": 0.6,
        "fusion, both noisy: sound alone → word": 0.7,
        "fusion, both noisy: fused → word": 0.85,
        "ms an item at batch 1, one thread: picture": 2.0,
    }
    found = goals(numbers)
    assert found["photograph → class name, Chinese names"].bound == pytest.approx(0.88)
    assert found["fusion, both noisy: fused → word"].bound == pytest.approx(0.8)
    assert found["ms an item at batch 1, one thread: picture"] == Goal(3.0, is_most=True)
    assert list(groups(numbers)) == ["names and retrieval", "fusion", "speed"]


def test_each_tower_is_timed() -> None:
    numbers = measure_latency(small_towers())
    assert len(numbers) == 4
    assert all(0 < ms < 1000 for ms in numbers.values())
