"""The client in a notebook: inside a running loop, and what answers look like."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser

import numpy as np

import sensorium
from sensorium.errors import InvalidInput
from sensorium.v1.embedding_pb2 import Receipt
from tests.clients.test_sdk import serving

EVIL = "<script>alert('x')</script>"


class Cells(HTMLParser):
    """Keeps the tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.said: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.said.append(data)


async def test_the_client_that_waits_works_where_a_loop_is_running() -> None:
    async with serving() as (_, at):

        def cell() -> list[float]:  # as a notebook's: a loop runs in this thread, and nothing is awaited
            async def inner() -> list[float]:
                assert asyncio.get_running_loop().is_running()
                with sensorium.Client(at) as client:
                    streamed = dict(client.embed_stream([("a", sensorium.text("x"))]))
                    assert set(streamed) == {"a"}
                    return [float(each) for each in client.embed([sensorium.text("a")]).vectors[0]]

            return asyncio.run(inner())

        assert await asyncio.to_thread(cell) == [1.0, 1.0, 1.0]


def test_answers_are_shown_in_few_words() -> None:
    error = InvalidInput("is bad", field="contents[1].text")
    embeddings = sensorium.Embeddings(np.ones((2, 3), np.float32), {1: error}, "toy@1", Receipt())
    assert repr(embeddings) == "Embeddings(2 x 3, space='toy@1', errors=1)"
    scores = np.full((500, 500), 0.25, np.float32)
    comparison = sensorium.Comparison(scores, None, {3: error}, {}, "toy@1", Receipt())
    assert repr(comparison) == "Comparison(500 x 500, space='toy@1', errors=1)"
    assert len(comparison._repr_html_()) < 5_000
    assert "… and 490 more" in comparison._repr_html_()
    assert "query 3" in comparison._repr_html_()
    assert "contents[1].text: is bad" in Cells(embeddings._repr_html_()).said[-1]


def test_what_came_from_outside_is_shown_as_text() -> None:
    ranking = sensorium.Ranking([sensorium.ScoredLabel(EVIL, 0, 0.5, 0.9)])
    found = sensorium.Classification([ranking, sensorium.Ranking(())], {1: InvalidInput(EVIL)}, EVIL, Receipt())
    page = Cells(found._repr_html_())
    assert page.tags == {"table", "caption", "tr", "th", "td"}
    assert f"{EVIL} (90.0 %)" in page.said
    assert repr(found).startswith("Classification([")
    fusion = sensorium.Fusion(np.ones((1, 3), np.float32), [["text"]], {0: InvalidInput(EVIL)}, [{}], EVIL, Receipt())
    assert "script" not in Cells(fusion._repr_html_()).tags


def test_a_ranking_below_the_level_of_its_model_is_shown_as_probably_none_of_these() -> None:
    labels = [sensorium.ScoredLabel("dog", 0, 0.1, 0.9)]
    rankings = [sensorium.Ranking(labels, is_unsure=True, none_cosine=0.4), sensorium.Ranking(labels)]
    found = sensorium.Classification(rankings, {}, "toy@1", Receipt())
    assert [ranking.is_unsure for ranking in found.rankings] == [True, False]
    assert repr(found).startswith("Classification(['dog' (probably none of these), 'dog']")
    assert {"probably none of these: dog (90.0 %)", "dog (90.0 %)"} <= {*Cells(found._repr_html_()).said}
