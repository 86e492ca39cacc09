"""What is measured of a run, and the report of it, on towers that learned nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from sensorium.cli.inputs import Kind  # noqa: E402
from training import meanings, nothing  # noqa: E402 - after the skip
from training.calibration import (  # noqa: E402
    Answers,
    calibrate,
    error_by_chance,
    expected_calibration_error,
    halves,
    held_out_answers,
    split_half_errors,
)
from training.captions import SCENES, all_captions, caption  # noqa: E402
from training.card import model_card  # noqa: E402
from training.concepts import CONCEPTS, LABELS, all_names  # noqa: E402
from training.contrastive import Towers  # noqa: E402
from training.encoding import Encoder, Vectors  # noqa: E402
from training.held_out import LABELLED  # noqa: E402
from training.latency import measure_latency  # noqa: E402
from training.measuring import NAMED, OFF_TOPIC, Measured  # noqa: E402
from training.report import Goal, goals, groups, write_report  # noqa: E402
from training.settings import DIM, Settings  # noqa: E402
from training.tokenizer import train_tokenizer  # noqa: E402
from training.unsure import Level, level_of  # noqa: E402
from training.waves import white_noise  # noqa: E402


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


def small_vectors() -> dict[str, Vectors]:
    """Two random vectors for each label of each folder."""
    rng = torch.Generator().manual_seed(0)
    order = {caption(scene): meanings.of_scene(scene) for scene in SCENES}
    order |= {label: meanings.of_label(place) for place, label in enumerate(LABELS)}
    found = {}
    for name, (_, labels) in LABELLED.items():
        said = [order[label] for label in labels for _ in range(2)]
        rows = torch.nn.functional.normalize(torch.randn(len(said), DIM, generator=rng), dim=1)
        found[name] = Vectors(rows, meanings.tensor(said))
    return found


def made_up_numbers() -> dict[str, float]:
    """A number for each task, as a mesh would give them."""
    numbers = {task + ending: 0.9 for task in NAMED for ending in ("", ", Chinese names")}
    numbers |= {f"calibration error: {task}": 0.02 for task in NAMED}
    numbers |= {f"AUROC by top {by}: {case}": 0.95 for case in OFF_TOPIC for by in ("score", "probability")}
    return numbers | {"ms an item at batch 1, one thread: picture": 0.6}


def test_a_run_ends_in_a_report_and_a_card_with_its_numbers(tmp_path: Path) -> None:
    line = {"step": 0, "image-text": 2.0, "sound-text": 2.0, "image-sound": 2.0, "fields": 9.0, "scale": 15.0}
    (tmp_path / "towers.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps(line | {'step': 20})}\n")
    encoder, vectors = small_encoder(small_towers()), small_vectors()
    calibration, answers = calibrate(encoder, vectors), held_out_answers(encoder, vectors)
    numbers = made_up_numbers() | split_half_errors(answers)
    labels = [str(i) for i in range(10)]
    confusions = {task: (labels, torch.eye(10, dtype=torch.long)) for task in NAMED}
    recalls = {"scene → caption": (0.5, 0.75, 0.875)}
    measured = Measured(numbers, recalls, confusions)
    page = write_report(tmp_path, encoder, vectors, answers, measured).read_text(encoding="utf-8")
    levels: dict[Kind, Level] = {"image": Level(0.36, {"digits, against photographs": 0.998}, {"typed": 0.034})}
    card = model_card(numbers, recalls, calibration, levels, Settings(), 60.0)
    assert page.count("<img ") == len(list((tmp_path / "report").glob("*.png"))) == 6
    assert set(calibration) == {"image", "audio", "text"}
    for task in NAMED:
        assert task in page
        assert task in card
    for case in OFF_TOPIC:
        assert f"| {case} | 0.950 | 0.950 |" in card
    assert "| scene → caption | 50.0 % | 75.0 % | 87.5 % |" in card
    assert "| image | 0.3600 |" in card
    assert "| image | digits, against photographs | 99.8 % |" in card
    assert "| image | typed | 3.4 % |" in card


def test_a_level_has_its_share_of_off_topic_cosines_below_it_each_case_weighing_alike() -> None:
    many, few = np.linspace(0, 0.2, 1000), np.linspace(0.5, 0.599, 100)
    level = level_of([many, few])
    assert (many < level).all()
    assert float((few < level).mean()) == pytest.approx(0.9, abs=0.011)  # 0.95 of both together
    assert level_of([few]) == pytest.approx(0.5 + 0.099 * 0.95, abs=0.002)


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


def test_nothing_is_the_same_from_the_same_seed() -> None:
    photographs = np.arange(4 * 32 * 32 * 3, dtype=np.uint8).reshape(4, 32, 32, 3)
    for is_held_out in (False, True):
        for number in range(8):
            one, two = (
                nothing.draw(number, photographs, np.random.default_rng(number), is_held_out=is_held_out)
                for _ in range(2)
            )
            assert np.array_equal(one, two)
            sounds = [nothing.play(number, 16_000, np.random.default_rng(3), is_held_out=is_held_out) for _ in range(2)]
            assert np.array_equal(sounds[0], sounds[1])
            assert np.isfinite(sounds[0]).all()
            assert 0 < np.abs(sounds[0]).max() <= 1


def test_words_for_evaluation_are_not_in_training() -> None:
    for kept, held_out in zip(nothing.words(is_held_out=False), nothing.words(is_held_out=True), strict=True):
        assert not set(kept) & set(held_out)
        assert len(held_out) > 10
    named = {name for concept in CONCEPTS for name in (*concept.english, *concept.chinese)}
    assert not named & {word for share in nothing.words(is_held_out=False) for word in share}


def test_white_noise_has_the_power_that_is_asked_for() -> None:
    samples = np.sin(np.arange(16000) / 5).astype(np.float32)
    noise = white_noise(samples, 10.0, np.random.default_rng(0)) - samples
    assert 10 * np.log10(np.mean(samples**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.2)


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
