"""The steps of training, each small: drawing, sampling, one step of learning, fusion, export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from tokenizers import Tokenizer  # noqa: E402 - after the skip

from training import augment, meanings  # noqa: E402
from training.calibration import fit  # noqa: E402
from training.captions import SCENES, all_captions, caption, caption_zh, describe, held_out_scenes  # noqa: E402
from training.concepts import LABELS, all_names, name_concept  # noqa: E402
from training.contrastive import Towers, pair_loss, train_towers  # noqa: E402
from training.drawing import draw_digit, draw_scene  # noqa: E402
from training.export import concepts_graph, export, fusion_graph, text_graph, vision_graph  # noqa: E402
from training.joint import ConceptHead, Fusion  # noqa: E402
from training.prepare import Images, Prepared, Sounds, cached, mel, shrink  # noqa: E402
from training.sampling import Sampler  # noqa: E402
from training.settings import DIM, Settings  # noqa: E402
from training.tokenizer import tokenize, train_tokenizer  # noqa: E402
from training.towers import TextTower, VisionTower  # noqa: E402

SMALL = Settings(
    photograph_batch=4,
    digit_batch=5,
    scene_batch=4,
    spoken_batch=2,
    animal_batch=2,
    speech_batch=5,
    nothing_batch=3,
    frames=64,
    long_frames=96,
    steps=2,
)


def small_tokenizer() -> Tokenizer:
    return train_tokenizer([*(name for label in range(len(LABELS)) for name in all_names(label)), *all_captions()])


def small_images(said: list[meanings.Meaning]) -> Images:
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 255, (len(said), 32, 32, 3), dtype=np.uint8), said)


def small_sounds(said: list[meanings.Meaning]) -> Sounds:
    rng = np.random.default_rng(0)
    return Sounds([rng.uniform(-1, 1, (64, 64)).astype(np.float16) for _ in said], said)


def small_data() -> Prepared:
    digits = [meanings.of_label(i % 10) for i in range(10)]
    things = [meanings.of_label(10 + i % 10) for i in range(10)]
    scenes = [meanings.of_scene(scene) for scene in SCENES[:10]]
    images = {"photographs": things, "handwritten": digits, "typed": digits, "scenes": scenes}
    none = [meanings.of_nothing()] * 10
    images["nothing"] = none
    sounds = {"spoken": digits, "animals": things, "words": things, "phrases": scenes, "played": none, "unnamed": none}
    return Prepared(
        {name: small_images(said) for name, said in images.items()},
        {name: small_sounds(said) for name, said in sounds.items()},
    )


def test_every_scene_has_its_own_captions() -> None:
    assert len({caption(scene) for scene in SCENES}) == len({caption_zh(scene) for scene in SCENES}) == 240
    assert caption(SCENES[0]) == "one small red circle"
    assert 0 < len(held_out_scenes()) < 60


def test_a_label_is_only_named_by_its_own_names() -> None:
    rng = np.random.default_rng(0)
    for label in range(len(LABELS)):
        assert {name_concept(label, rng) for _ in range(50)} <= set(all_names(label))


def test_pictures_are_drawn_the_same_from_the_same_seed() -> None:
    for seed in range(3):
        scenes = [draw_scene(SCENES[50], np.random.default_rng(seed)) for _ in range(2)]
        digits = [draw_digit(7, np.random.default_rng(seed)) for _ in range(2)]
        assert np.array_equal(scenes[0], scenes[1])
        assert np.array_equal(digits[0], digits[1])
        assert shrink(scenes[0]).shape == shrink(digits[0]).shape == (32, 32, 3)


def test_no_text_is_unknown_to_the_tokenizer() -> None:
    tokenizer = small_tokenizer()
    for text in ("Two small RED circles", "两个小红色圆", "quixotic ☃ emoji 🎉", "naïve"):
        ids = tokenizer.encode(text).ids
        assert ids[0] == 1
        assert ids[-1] == 2
        assert len(ids) > 2
    assert tokenizer.encode("SEVEN").ids == tokenizer.encode("seven").ids


def test_a_text_has_the_same_vector_whatever_it_is_padded_to() -> None:
    tokenizer = small_tokenizer()
    tower = TextTower(tokenizer.get_vocab_size()).eval()
    ids, mask = tokenize(tokenizer, ["a photo of a dog"])
    pad = 64 - ids.shape[1]
    with torch.inference_mode():
        short = tower(ids, mask)
        long = tower(torch.nn.functional.pad(ids, (0, pad)), torch.nn.functional.pad(mask, (0, pad)))
    assert torch.allclose(short, long, atol=1e-5)


def test_meanings_match_where_nothing_said_differs() -> None:
    whole = meanings.tensor([meanings.of_scene(SCENES[0]), meanings.of_label(3)])
    said = meanings.tensor([(meanings.SCENE, -1, -1, 0, -1), (meanings.SCENE, 1, -1, 0, -1), meanings.of_label(3)])
    assert meanings.matches(whole, said).tolist() == [[True, False, False], [False, False, True]]


def test_the_loss_is_lower_where_equals_are_near() -> None:
    rows = torch.eye(4, DIM)
    said = meanings.tensor([meanings.of_label(i) for i in range(4)])
    scale = torch.tensor(10.0)
    assert pair_loss((rows, said), (rows, said), scale) < pair_loss((rows, said), (rows.flip(0), said), scale)


def test_what_means_nothing_should_find_everything_alike() -> None:
    left = meanings.tensor([meanings.of_nothing(), meanings.of_label(3), meanings.of_label(5)])
    right = meanings.tensor([meanings.of_label(3), meanings.of_label(4), meanings.of_nothing(), meanings.of_label(3)])
    assert meanings.matches(left, right)[0].tolist() == [False] * 4
    assert meanings.targets(left, right)[0].tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    assert meanings.targets(left, right)[1].tolist() == [0.5, 0, 0, 0.5]
    assert meanings.targets(left, right)[2].tolist() == [0, 0, 0, 0]


def test_the_same_step_gives_the_same_batch() -> None:
    tokenizer = small_tokenizer()
    one, two = (Sampler(small_data(), tokenizer, SMALL).batch(5) for _ in range(2))
    assert torch.equal(one.pixel_values, two.pixel_values)
    assert torch.equal(one.input_features, two.input_features)
    assert torch.equal(one.input_ids, two.input_ids)
    assert one.pixel_values.shape[0] == len(one.image_meanings) == 16


def test_augmented_pictures_stay_pictures() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(6, 3, 32, 32)
    for change in (augment.photographs, augment.digits, augment.scenes):
        changed = change(x, rng)
        assert changed.shape == x.shape
        assert 0 <= changed.min() <= changed.max() <= 1


def test_a_resumed_run_ends_where_an_unbroken_one_does(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    tokenizer = small_tokenizer()
    sampler = Sampler(small_data(), tokenizer, SMALL)
    size = tokenizer.get_vocab_size()

    def train(folder: Path) -> Towers:
        folder.mkdir(exist_ok=True)
        settings = replace(SMALL, checkpoint_every=1)
        return train_towers(sampler, size, settings, folder, lambda _count, _note: stop_at_first(folder))

    def stop_at_first(folder: Path) -> None:
        if folder.name == "broken" and (folder / "towers.pt").exists() and not (folder / "was-broken").exists():
            (folder / "was-broken").touch()
            raise KeyboardInterrupt

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken")
    resumed = train(tmp_path / "broken")
    for name, value in whole.state_dict().items():
        assert torch.allclose(value.float(), resumed.state_dict()[name].float(), atol=1e-6), name


def test_fusion_returns_a_lone_part_and_ignores_padding(tmp_path: Path) -> None:
    fusion = Fusion().eval()
    parts = torch.nn.functional.normalize(torch.randn(2, 3, DIM), dim=2)
    modality = torch.tensor([[1, 2, 3], [2, 3, 1]])
    with torch.inference_mode():
        alone = fusion(parts, modality, torch.tensor([[1.0, 0, 0], [2.0, 0, 0]]))
        padded = fusion(parts, modality, torch.tensor([[1.0, 1, 0], [2.0, 1, 0]]))
        cut = fusion(parts[:, :2], modality[:, :2], torch.tensor([[1.0, 1], [2.0, 1]]))
    assert torch.allclose(alone, parts[:, 0], atol=1e-6)
    assert torch.allclose(padded, cut, atol=1e-6)


def test_exported_graphs_compute_what_the_modules_compute(tmp_path: Path) -> None:
    graphs = (
        text_graph(TextTower(300)),
        vision_graph(VisionTower()),
        fusion_graph(Fusion()),
        concepts_graph(ConceptHead(5)),
    )
    for number, graph in enumerate(graphs):
        assert export(graph, tmp_path / f"{number}.onnx") <= 1e-5


def test_calibration_finds_the_scale_that_made_the_choices() -> None:
    rng = torch.Generator().manual_seed(0)
    cosines = torch.rand(4000, 10, generator=rng) * 2 - 1
    truth = torch.multinomial((8.0 * cosines).softmax(1), 1, generator=rng)[:, 0]
    assert fit([(cosines, truth)]).logit_scale == pytest.approx(8.0, rel=0.15)


def test_noise_raises_the_quiet_parts_of_a_sound() -> None:
    time = np.arange(10240) / 16000
    features = torch.from_numpy(mel(np.sin(2 * np.pi * 440 * time).astype(np.float32), 16000)).float()[None]
    noisy = augment.noisy(features, 0.0, torch.Generator().manual_seed(0))
    assert noisy.mean() > features.mean() + 0.5


def test_what_is_cached_is_made_once(tmp_path: Path) -> None:
    numbers = iter([7, 8])
    assert [cached(tmp_path / "x.pickle", lambda: next(numbers)) for _ in range(2)] == [7, 7]


def test_descriptions_are_many() -> None:
    rng = np.random.default_rng(0)
    assert len({describe(SCENES[100], rng) for _ in range(200)}) > 20
