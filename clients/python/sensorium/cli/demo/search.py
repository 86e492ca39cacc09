"""The tour's questions of search: one thing found in three ways, and sounds matched to pictures."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium import Client
from sensorium.cli.demo.asking import agreement, ask, contents, grid_agreement, ranked
from sensorium.cli.demo.results import Bar, Grid, Ranking, Step, means_the_same
from sensorium.cli.demo.samples import Thing, pick, text
from sensorium.cli.demo.snippets import expressions, python, shell

_SOUGHT = "two small red circles"
_TOP = 6
_WITH_PICTURES = ("--with", "demo/inputs/*.png", "--with", "demo/inputs/*.jpg")
_PICTURE_FILES = 'files = sorted(Path("demo/inputs").glob("*.*g"))  # .png and .jpg'


def find(client: Client, samples: Sequence[Thing]) -> Step:
    """Finds one thing three times: asked for in words, by a picture, and by a voice."""
    queries = [text(_SOUGHT), pick(samples, "image", _SOUGHT)[0], pick(samples, "audio", _SOUGHT)[0]]
    found, call = ask("Compare", lambda: client.compare(contents(queries), contents(samples)))
    found.raise_for_errors()
    rankings = [_others(query, samples, scores.tolist()) for query, scores in zip(queries, found.scores, strict=True)]
    return Step(
        "The same thing by text, by picture and by sound",
        "One thing is asked for in words, by a picture and by a voice. Each time all the other samples are ranked by "
        "their cosine, pictures and sounds together.",
        shell("compare", *queries, *_WITH_PICTURES, "--with", "demo/inputs/s*.wav", "--with", "demo/inputs/s*.flac"),
        python(
            "audio, image, text",
            _PICTURE_FILES,
            f"found = client.compare({expressions(queries)}, [image(file) for file in files])",
            "print(found.scores)",
        ),
        rankings,
        [call],
        agreement(rankings),
    )


def match(client: Client, samples: Sequence[Thing]) -> Step:
    """Matches spoken words to pictures."""
    pictures = pick(samples, "image")
    shown = {picture.meaning for picture in pictures}
    sounds = [sound for sound in pick(samples, "audio") if sound.meaning in shown]
    found, call = ask("Compare", lambda: client.compare(contents(sounds), contents(pictures)))
    found.raise_for_errors()
    numbers = found.scores if found.probabilities is None else found.probabilities
    grid = Grid(sounds, pictures, numbers, means_the_same(sounds, pictures), found.probabilities is not None)
    return Step(
        "A sound matched to pictures",
        "Each sound is compared with all pictures. The audio model's calibration turns the cosines of a row into "
        "probabilities that add up to 100%; two pictures of one thing share them.",
        shell("compare", sounds[0], *_WITH_PICTURES),
        python(
            "audio, image",
            _PICTURE_FILES,
            f"found = client.compare({expressions(sounds[:1])}, [image(file) for file in files])",
            "print(found.probabilities)",
        ),
        [grid],
        [call],
        grid_agreement(grid),
    )


def _others(query: Thing, samples: Sequence[Thing], scores: Sequence[float]) -> Ranking:
    bars = [
        Bar(sample, score, is_expected=sample.meaning == query.meaning)
        for sample, score in zip(samples, scores, strict=True)
        if sample is not query
    ]
    return ranked(query, bars, _TOP)
