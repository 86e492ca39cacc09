"""The tour's questions of labels: pictures classified by words, and labels that examples define."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sensorium import Classification, Client, label
from sensorium.cli.demo.asking import agreement, ask, contents, ranking
from sensorium.cli.demo.results import Call, Definitions, Step
from sensorium.cli.demo.samples import Kind, Thing, pick, text
from sensorium.cli.demo.snippets import expressions, python, shell, strings

# What the pictures of the samples show, in English and in Chinese.
_CHINESE = {
    "two small red circles": "两个小红色圆",
    "three large blue triangles": "三个大蓝色三角形",
    "one large yellow star": "一个大黄色星星",
    "three small green squares": "三个小绿色方块",
    "two large purple crosses": "两个大紫色十字",
    "one small orange circle": "一个小橙色圆",
    "three": "三",
    "four": "四",
    "seven": "七",
    "nine": "九",
}
_PICTURES = ("three large blue triangles", "one large yellow star", "seven")
_TOP = 4

# What is asked about labels that examples define, and the label whose examples it is like.
_ASKED: Sequence[tuple[Kind, str, str]] = (
    ("image", "seven", "B"),
    ("audio", "four", "B"),
    ("audio", "two small red circles", "A"),
    ("audio", "three large blue triangles", "C"),
)


def classify(client: Client, samples: Sequence[Thing]) -> Step:
    """Classifies pictures by labels that are only words, in two languages."""
    pictures = [pick(samples, "image", meaning)[0] for meaning in _PICTURES]
    english = [text(name) for name in _CHINESE]
    chinese = [text(name, meaning) for meaning, name in _CHINESE.items()]
    rankings, calls = [], []
    for language, labels in (("English", english), ("Chinese", chinese)):
        found, call = _classified(client, pictures, labels)
        rankings += [
            ranking(thing, labels, scored, thing.meaning, language)
            for thing, scored in zip(pictures, found.rankings, strict=True)
        ]
        calls.append(call)
    names = [thing.name for thing in chinese]
    return Step(
        "A picture classified by words",
        "Ten labels are given by their names alone, first in English, then in Chinese; the probabilities add up to "
        "100% over the ten.",
        shell("classify", pictures[0], *(word for name in names for word in ("--label", name))),
        python(
            "image",
            f"found = client.classify({expressions(pictures[:1])}, {strings(names)})",
            "for scored in found.rankings[0]:",
            "    print(scored.name, scored.probability)",
        ),
        rankings,
        calls,
        agreement(rankings),
    )


def learn(client: Client, samples: Sequence[Thing]) -> Step:
    """Classifies by labels that examples alone define."""
    shown = {
        "A": pick(samples, "image", "two small red circles", "one small orange circle"),
        "B": pick(samples, "image", "three", "nine"),
        "C": pick(samples, "image", "three large blue triangles", "three small green squares"),
    }
    asked = [pick(samples, kind, meaning)[0] for kind, meaning, _ in _ASKED]
    labels = [label(name, contents(examples), is_tag=True) for name, examples in shown.items()]
    found, call = ask("Classify", lambda: client.classify(contents(asked), labels))
    found.raise_for_errors()
    tags = [text(name) for name in shown]
    rankings = [
        ranking(thing, tags, scored, tag)
        for thing, scored, (_, _, tag) in zip(asked, found.rankings, _ASKED, strict=True)
    ]
    return Step(
        "A label defined by examples",
        "Three labels without words: A is shown by circles, B by typed digits, C by shapes with corners, two pictures "
        "each. Then another picture is asked about, and three sounds, though no example is a sound.",
        *_learn_snippets(asked, shown),
        [Definitions(list(shown.items())), *rankings],
        [call],
        agreement(rankings),
    )


def _classified(client: Client, pictures: Sequence[Thing], labels: Sequence[Thing]) -> tuple[Classification, Call]:
    names = [thing.name for thing in labels]
    found, call = ask("Classify", lambda: client.classify(contents(pictures), names, top_k=_TOP))
    found.raise_for_errors()
    return found, call


def _learn_snippets(asked: Sequence[Thing], shown: Mapping[str, Sequence[Thing]]) -> tuple[str, str]:
    tags = (f"{name}={','.join(thing.path for thing in examples)}" for name, examples in shown.items())
    defined = (
        f'{name.lower()} = label("{name}", {expressions(things)}, is_tag=True)' for name, things in shown.items()
    )
    return (
        shell("classify", *asked, *(word for tag in tags for word in ("--tag", tag))),
        python(
            "audio, image, label",
            *defined,
            f"found = client.classify({expressions(asked[:2])}, [a, b, c])",
            "print(found.rankings)",
        ),
    )
