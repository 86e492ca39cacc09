"""Prompts: names of what a text model wants before queries or documents, through every call that takes texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
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
from services.text import app as text_app
from services.text.config import Config as TextConfig
from shared.hosting.config import HostingConfig
from tests.running import running
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


async def test_the_python_client_sends_prompts_with_every_call_that_takes_texts() -> None:
    peers = e5(), fusion_peer(PREDICTOR)
    word = [sensorium.text("a")]
    async with (
        started(*peers),
        orchestrating(*peers) as mesh,
        sensorium.AsyncClient(f"127.0.0.1:{mesh.port}") as client,
    ):
        await client.embed(word, prompt="query")
        rows = dict([pair async for pair in client.embed_stream([("k", word[0])], prompt="document")])
        await client.compare(word, word, query_prompt="query", candidate_prompt="document")
        await client.classify(word, ["a"], prompt="query", label_prompt="document")
        await client.fuse([word], prompt="query")
        await client.predict([word], prompt="document")
        await client.tokenize(["a"], prompt="query")
    assert isinstance(rows["k"], np.ndarray)
    np.testing.assert_allclose(rows["k"], direction("document: a"), atol=1e-6)
    seen = [request.prompt_name for request in peers[0].requests]
    assert seen[:2] == ["query", "document"]
    assert sorted(seen[2:4]) == sorted(seen[4:6]) == ["document", "query"]
    assert seen[6:] == ["query", "document", "query"]


async def test_a_models_own_prompts_are_what_its_package_says(tmp_path: Path) -> None:
    """From the manifest of a real text service to the scores of the orchestrator: as E5 and BGE want it."""
    folder = tmp_path / "tiny-text" / "1"
    shutil.copytree(HostingConfig().models / "tiny-text" / "1", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    prompts = {"query": "a picture of ", "document": "this is "}
    (folder / "manifest.json").write_text(json.dumps({**manifest, "prompts": prompts}))
    hosting = HostingConfig(models=tmp_path)
    async with (
        running(text_app.serving, TextConfig, hosting=hosting) as (_, service),
        orchestrating(text_addr=f"127.0.0.1:{service.port}") as mesh,
    ):
        await mesh.until(lambda seen: bool(seen.spaces))
        named = await mesh.stub.Compare(
            CompareRequest(
                queries=[text("seven")],
                candidates=[text("seven"), text("a dog")],
                query_prompt_name="query",
                candidate_prompt_name="document",
            )
        )
        written = await mesh.stub.Compare(
            CompareRequest(
                queries=[text("a picture of seven")], candidates=[text("this is seven"), text("this is a dog")]
            )
        )
        unknown = await refused(mesh.stub.Embed(EmbedRequest(contents=[text("a")], prompt_name="passage")))
    assert list(named.scores) == pytest.approx(list(written.scores), abs=1e-6)
    assert unknown.metadata["available"] == "document, query"
