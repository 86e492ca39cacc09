"""Prompts: names of what a text model wants before queries or documents, through every call that takes texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sensorium.errors import NotFound, Reason
from sensorium.v1.orchestrator_pb2 import (
    ClassifyRequest,
    CompareRequest,
    EmbedRequest,
    EmbedStreamRequest,
    FuseItem,
    FusePart,
    FuseRequest,
    Label,
    OrchestratorServicePredictRequest,
    OrchestratorServiceTokenizeRequest,
)
from tests.services.orchestrator.fakes import FakePeer, fusion_peer, started, text_peer, vision_peer
from tests.services.orchestrator.harness import error_of, image, orchestrating, refused, text, vector_of
from tests.services.orchestrator.toys import PREDICTOR, direction


def e5() -> FakePeer:
    """A text service whose model wants to be told queries from documents."""
    return text_peer(prompt_names=["document", "query"])


async def test_a_prompt_goes_before_the_texts_of_a_call_and_before_nothing_else() -> None:
    peers = e5(), vision_peer()
    request = EmbedRequest(contents=[text("a"), image(b"a"), text("b")], prompt_name="query")
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Embed(request)
        plain = await mesh.stub.Embed(EmbedRequest(contents=[text("a")]))
    for result, seen in zip(response.results, ("query: a", "a", "query: b"), strict=True):
        np.testing.assert_allclose(vector_of(result), direction(seen), atol=1e-6)
    np.testing.assert_allclose(vector_of(plain.results[0]), direction("a"), atol=1e-6)
    assert len(peers[0].requests) == 2


async def test_queries_and_candidates_have_prompts_of_their_own() -> None:
    peer = e5()
    request = CompareRequest(
        queries=[text("a")],
        candidates=[text("a"), text("b")],
        query_prompt_name="query",
        candidate_prompt_name="document",
    )
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Compare(request)
    expected = [float(direction("query: a") @ direction(f"document: {each}")) for each in "ab"]
    assert list(response.scores) == pytest.approx(expected, abs=1e-6)


async def test_contents_and_labels_have_prompts_of_their_own() -> None:
    peer = e5()
    request = ClassifyRequest(
        contents=[text("a")],
        labels=[Label(name="cat"), Label(name="7", is_tag=True, examples=[text("x")])],
        templates=["a {}"],
        prompt_name="query",
        label_prompt_name="document",
    )
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Classify(request)
    scores = {label.name: label.score for label in response.results[0].ranking.labels}
    query = direction("query: a")
    expected = {"cat": query @ direction("document: a cat"), "7": query @ direction("document: x")}
    assert scores == pytest.approx({name: float(each) for name, each in expected.items()}, abs=1e-6)


async def test_messages_of_a_stream_are_never_batched_across_prompts() -> None:
    peer = e5()
    names = ["query", "document", "", "no such prompt"]

    async def messages() -> Any:  # Any: gRPC's request iterator
        for name in names:
            yield EmbedStreamRequest(id=name, content=text("a"), prompt_name=name)

    async with started(peer), orchestrating(peer) as mesh:
        answers = {answer.id: answer.result async for answer in mesh.stub.EmbedStream(messages())}
    for name, seen in zip(names, ("query: a", "document: a", "a"), strict=False):
        np.testing.assert_allclose(vector_of(answers[name]), direction(seen), atol=1e-6)
    assert error_of(answers["no such prompt"]).reason is Reason.PROMPT_NOT_FOUND


ITEMS = [FuseItem(parts=[FusePart(content=text("a"))])]


@pytest.mark.parametrize(
    ("method", "field", "request_"),
    [
        ("Embed", "prompt_name", EmbedRequest(contents=[text("a")], prompt_name="qery")),
        (
            "Compare",
            "query_prompt_name",
            CompareRequest(queries=[text("a")], candidates=[text("b")], query_prompt_name="qery"),
        ),
        (
            "Compare",
            "candidate_prompt_name",
            CompareRequest(queries=[text("a")], candidates=[text("b")], candidate_prompt_name="qery"),
        ),
        (
            "Classify",
            "prompt_name",
            ClassifyRequest(contents=[text("a")], labels=[Label(name="b")], prompt_name="qery"),
        ),
        (
            "Classify",
            "label_prompt_name",
            ClassifyRequest(contents=[text("a")], labels=[Label(name="b")], label_prompt_name="qery"),
        ),
        ("Fuse", "prompt_name", FuseRequest(items=ITEMS, prompt_name="qery")),
        ("Predict", "prompt_name", OrchestratorServicePredictRequest(items=ITEMS, prompt_name="qery")),
        ("Tokenize", "prompt_name", OrchestratorServiceTokenizeRequest(texts=["a"], prompt_name="qery")),
    ],
)
async def test_an_unknown_prompt_is_refused_with_those_that_there_are(method: str, field: str, request_: Any) -> None:
    peers = e5(), fusion_peer(PREDICTOR)
    async with started(*peers), orchestrating(*peers) as mesh:
        error = await refused(getattr(mesh.stub, method)(request_))
    assert isinstance(error, NotFound)
    assert (error.reason, error.field) == (Reason.PROMPT_NOT_FOUND, field)
    assert error.metadata["available"] == "document, query"
    assert not peers[0].requests
