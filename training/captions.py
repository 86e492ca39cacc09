"""The grammar of drawn scenes: what a scene is, and the texts that describe it in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

COUNTS = ("one", "two", "three")
SIZES = ("small", "large")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")
SHAPES = ("circle", "square", "triangle", "star", "cross")

_COUNTS_ZH = ("一", "两", "三")
_SIZES_ZH = ("小", "大")
_COLOURS_ZH = ("红", "绿", "蓝", "黄", "紫", "橙", "黑", "白")
_SHAPES_ZH = ("圆", "方块", "三角形", "星星", "十字")
_SHAPES_ZH_MORE = ("圆形", "正方形", "三角", "五角星", "十字形")
_SYNONYMS = {"small": ("little", "tiny"), "large": ("big", "huge"), "circle": ("disc", "dot"), "cross": ("plus",)}
_PREFIXES = ("", "", "", "", "a picture of ", "a drawing of ", "an image of ", "a photo of ")


@dataclass(frozen=True, slots=True)
class Scene:
    """One combination, each field an index into COUNTS, SIZES, COLOURS, SHAPES; -1: the text does not say."""

    count: int
    size: int
    colour: int
    shape: int


SCENES = tuple(
    Scene(*fields) for fields in product(range(len(COUNTS)), range(len(SIZES)), range(len(COLOURS)), range(len(SHAPES)))
)


def held_out_scenes(seed: int = 7, share: float = 0.15) -> frozenset[Scene]:
    """Returns the combinations that training never sees; each attribute alone is still well covered."""
    order = np.random.default_rng(seed).permutation(len(SCENES))
    return frozenset(SCENES[i] for i in order[: round(share * len(SCENES))])


def caption(scene: Scene) -> str:
    """Returns the plain English caption: `two small red circles`."""
    shape = SHAPES[scene.shape]
    return f"{COUNTS[scene.count]} {SIZES[scene.size]} {COLOURS[scene.colour]} {_plural(shape, scene.count)}"


def caption_zh(scene: Scene) -> str:
    """Returns the plain Chinese caption: `两个小红色圆`."""
    return f"{_COUNTS_ZH[scene.count]}个{_SIZES_ZH[scene.size]}{_COLOURS_ZH[scene.colour]}色{_SHAPES_ZH[scene.shape]}"


def describe(scene: Scene, rng: np.random.Generator) -> str:
    """Returns one of the many texts that describe a scene in full."""
    draw = rng.random()
    if draw < 0.4:
        return caption(scene)
    return _chinese(scene, rng) if draw < 0.6 else _english(scene, rng)


def partial(scene: Scene, rng: np.random.Generator) -> tuple[Scene, str]:
    """Returns a description that leaves attributes out, and the scene with -1 where it says nothing."""
    keep = rng.random(4) < 0.45
    if not keep.any():
        keep[int(rng.integers(4))] = True
    fields = (scene.count, scene.size, scene.colour, scene.shape)
    some = Scene(*(field if kept else -1 for field, kept in zip(fields, keep, strict=True)))
    return some, _partial_english(some) if rng.random() < 0.8 else _partial_chinese(some)


def all_captions() -> list[str]:
    """Returns texts that hold every word of the grammar, for the tokenizer."""
    rng = np.random.default_rng(0)
    texts = [text for scene in SCENES for text in (caption(scene), caption_zh(scene))]
    texts += [describe(scene, rng) for scene in SCENES for _ in range(6)]
    return texts + [partial(scene, rng)[1] for scene in SCENES for _ in range(3)]


def _english(scene: Scene, rng: np.random.Generator) -> str:
    count, size, colour, shape = (
        _word(COUNTS[scene.count], rng), _word(SIZES[scene.size], rng),
        _word(COLOURS[scene.colour], rng), _word(SHAPES[scene.shape], rng),
    )  # fmt: skip
    shape = _plural(shape, scene.count)
    if scene.count == 0 and rng.random() < 0.6:
        count = "a"
    elif scene.count > 0 and rng.random() < 0.15:
        count = str(scene.count + 1)
    forms = (
        f"{count} {size} {colour} {shape}",
        f"{count} {colour} {shape}, {size}",
        f"{count} {size} {shape} in {colour}",
        f"{'there is' if scene.count == 0 else 'there are'} {count} {size} {colour} {shape}",
        f"{count} {colour} {size} {shape}",
    )
    return _PREFIXES[int(rng.integers(len(_PREFIXES)))] + forms[int(rng.integers(len(forms)))]


def _chinese(scene: Scene, rng: np.random.Generator) -> str:
    shapes = _SHAPES_ZH if rng.random() < 0.5 else _SHAPES_ZH_MORE
    count, size, colour = _COUNTS_ZH[scene.count], _SIZES_ZH[scene.size], _COLOURS_ZH[scene.colour]
    shape = shapes[scene.shape]
    forms = (
        f"{count}个{size}{colour}色{shape}",
        f"{count}个{colour}色的{size}{shape}",
        f"{count}个{size}的{colour}色{shape}",
        f"{count}个{size}{colour}{shape}",
    )
    return forms[int(rng.integers(len(forms)))]


def _partial_english(some: Scene) -> str:
    shape = SHAPES[some.shape] if some.shape >= 0 else "shape"
    words = [COUNTS[some.count]] if some.count >= 0 else []
    words += [SIZES[some.size]] if some.size >= 0 else []
    words += [COLOURS[some.colour]] if some.colour >= 0 else []
    return " ".join([*words, _plural(shape, some.count)])


def _partial_chinese(some: Scene) -> str:
    count = f"{_COUNTS_ZH[some.count]}个" if some.count >= 0 else ""
    size = _SIZES_ZH[some.size] if some.size >= 0 else ""
    colour = f"{_COLOURS_ZH[some.colour]}色" if some.colour >= 0 else ""
    return f"{count}{size}{colour}{_SHAPES_ZH[some.shape] if some.shape >= 0 else '图形'}"


def _word(word: str, rng: np.random.Generator) -> str:
    others = _SYNONYMS.get(word, ())
    return others[int(rng.integers(len(others)))] if others and rng.random() < 0.3 else word


def _plural(shape: str, count: int) -> str:
    if count == 0:
        return shape
    return shape + ("es" if shape.endswith("s") else "s")
