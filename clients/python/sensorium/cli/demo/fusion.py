"""The tour's last questions: several views of one thing fused, and bad inputs beside good ones."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium import Client, Fusion, SensoriumError
from sensorium.cli.demo.asking import ask, contents, grid_agreement
from sensorium.cli.demo.results import Call, Grid, Items, Step, means_the_same
from sensorium.cli.demo.samples import Thing, broken, of_bytes, pick, text, vector
from sensorium.cli.demo.snippets import expressions, python, shell, strings

_MEANT = "two small red circles"
_LABELS = (
    _MEANT,
    "two large red circles",
    "three small red circles",
    "two small blue circles",
    "two small red squares",
)
_WORDS = {"text": "text", "image": "picture", "audio": "sound"}


def fuse(client: Client, samples: Sequence[Thing]) -> Step:
    """Fuses a vague text, a picture and a sound, then the same with a sound that cannot be read."""
    words = text("red circles", _MEANT)
    picture, sound = pick(samples, "image", _MEANT)[0], pick(samples, "audio", _MEANT)[0]
    bad = broken(sound, "the same sound, cut off")
    items = [contents([words, picture, sound]), contents([words, picture, bad])]
    fused, fuse_call = ask("Fuse", lambda: client.fuse(items, allow_partial=True))
    fused.raise_for_errors()
    views = [words, picture, sound, *_joint(fused)]
    grid, compare_call = _against_labels(client, views)
    return Step(
        "Text, picture and sound fused, then one of them missing",
        f"“{words.name}” says neither how many nor how large. It is fused with a picture and a sound of the same "
        "thing; then once more, with a sound that is broken and may be left out. The grid holds each view by itself, "
        "and both fused vectors, against five captions that differ in one word.",
        *_fuse_snippets(words, picture, sound),
        [_parts([words, picture, sound, bad], fused), grid],
        [fuse_call, compare_call],
        grid_agreement(grid),
    )


def spoil(client: Client, samples: Sequence[Thing]) -> Step:
    """Embeds good inputs and bad ones in one call."""
    picture, sound = pick(samples, "image")[0], pick(samples, "audio")[0]
    things = [
        picture,
        broken(picture, "the same picture, cut off"),
        text("two small red circles"),
        text(""),
        sound,
        of_bytes("a text file, sent as a sound", "audio", b"This is no sound.\n" * 9),
    ]
    found, call = ask("Embed", lambda: client.embed(contents(things)))
    rows: list[tuple[str, Thing, str | SensoriumError]] = [
        (
            f"contents[{place}]",
            thing,
            found.errors.get(place) or f"{found.vectors.shape[1]} numbers in the space {found.space}",
        )
        for place, thing in enumerate(things)
    ]
    return Step(
        "Bad inputs beside good ones",
        "Six contents go out in one call, three of them bad. A batch answers item by item: an error names the field "
        "and what is wrong with it, and the others get their vectors.",
        f"head -c 1000 {picture.path} > cut.png\n" + shell("embed", picture, "cut.png", sound, "--text", ""),
        python(
            "audio, image, text",
            f"contents = {expressions([picture, sound])}",
            "cut_off = image(contents[0].image.data[:1000])",
            'found = client.embed([*contents, cut_off, text("")])',
            "print(found.vectors.shape, found.errors)",
        ),
        [Items(rows)],
        [call],
        f"{len(things) - len(found.errors)} vectors and {len(found.errors)} errors came back.",
    )


def _joint(fused: Fusion) -> list[Thing]:
    named = zip(fused.vectors, fused.modalities, strict=True)
    return [
        vector(f"{' + '.join(_WORDS[kind] for kind in kinds)}, fused", row, fused.space, _MEANT) for row, kinds in named
    ]


def _against_labels(client: Client, views: Sequence[Thing]) -> tuple[Grid, Call]:
    labels = [text(name) for name in _LABELS]
    found, call = ask("Compare", lambda: client.compare(contents(views), contents(labels)))
    found.raise_for_errors()
    return Grid(views, labels, found.scores, means_the_same(views, labels)), call


def _parts(things: Sequence[Thing], fused: Fusion) -> Items:
    """Returns what became of the parts: of the three good ones, and of the broken one of the second item."""
    words, picture, sound, bad = things
    return Items(
        [
            ("items[0, 1].parts[0]", words, "took part"),
            ("items[0, 1].parts[1]", picture, "took part"),
            ("items[0].parts[2]", sound, "took part"),
            ("items[1].parts[2]", bad, fused.part_errors[1].get(2, "took part")),
        ]
    )


def _fuse_snippets(words: Thing, picture: Thing, sound: Thing) -> tuple[str, str]:
    cut = f"head -c 20000 {sound.path} > cut.flac\n"
    line = shell("fuse", words, picture, sound)
    partial = shell("fuse", words, picture, "cut.flac", "--allow-partial")
    return f"{line}\n{cut}{partial}", python(
        "audio, embedding, image, text",
        f"words, picture, sound = {expressions([words, picture, sound])}",
        "cut_off = audio(sound.audio.data[:20000])",
        "fused = client.fuse([[words, picture, sound], [words, picture, cut_off]], allow_partial=True)",
        "print(fused.modalities, fused.part_errors)",
        f"labels = [text(name) for name in {strings(_LABELS)}]",
        "found = client.compare([embedding(row, fused.space) for row in fused.vectors], labels)",
        "print(found.scores)",
    )
