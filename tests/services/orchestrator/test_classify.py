"""Classify: zero-shot by names, few-shot by examples, or both."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sensorium.errors import FailedPrecondition, InvalidInput, Reason
from sensorium.v1.content_pb2 import Content
from sensorium.v1.orchestrator_pb2 import ClassifyRequest, Label, LabelRanking
from tests.services.orchestrator.fakes import audio_peer, started, text_peer, vision_peer
from tests.services.orchestrator.harness import audio, embedded, error_of, image, orchestrating, refused, text
from tests.services.orchestrator.toys import SPACE, direction, sigmoid_calibration


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def mean(*keys: str) -> NDArray[np.float32]:
    """Returns the direction of the mean of directions: what an ensemble of templates or examples should give."""
    return unit(np.mean([direction(key) for key in keys], axis=0))


def scores(ranking: LabelRanking) -> dict[str, float]:
    return {label.name: label.score for label in ranking.labels}


async def test_names_go_through_the_models_templates_and_are_averaged_in_one_text_call() -> None:
    peers = text_peer(), vision_peer()
    labels = [Label(name="cat"), Label(name="dog")]
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Classify(ClassifyRequest(contents=[image(b"x"), text("y")], labels=labels))

    expected = {name: mean(f"a photo of a {name}", name) for name in ("cat", "dog")}
    for result, key in zip(response.results, ("x", "y"), strict=True):
        seen = scores(result.ranking)
        assert seen == pytest.approx({name: float(direction(key) @ expected[name]) for name in expected}, abs=1e-6)
        assert list(seen.values()) == sorted(seen.values(), reverse=True)
        assert {label.name: label.index for label in result.ranking.labels} == {"cat": 0, "dog": 1}
    assert response.space == SPACE
    assert [len(peer.requests) for peer in peers] == [1, 1]
    assert len(peers[0].requests[0].texts) == 5


async def test_the_requests_templates_replace_the_models() -> None:
    peer = text_peer()
    request = ClassifyRequest(contents=[text("x")], labels=[Label(name="cat")], templates=["{} and {}!"])
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Classify(request)
    assert list(peer.requests[0].texts) == ["x", "cat and cat!"]
    assert scores(response.results[0].ranking)["cat"] == pytest.approx(
        float(direction("x") @ direction("cat and cat!")), abs=1e-6
    )


async def test_a_tag_is_defined_by_its_examples_alone() -> None:
    """The prototype is the mean of the examples, whatever they are (Snell et al. 2017)."""
    peers = text_peer(), vision_peer(), audio_peer()
    label = Label(name="class 7", is_tag=True, examples=[image(b"p"), audio(b"q"), embedded(5 * direction("r"))])
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Classify(ClassifyRequest(contents=[image(b"x")], labels=[label]))
    expected = float(direction("x") @ mean("p", "q", "r"))
    assert scores(response.results[0].ranking)["class 7"] == pytest.approx(expected, abs=1e-6)
    assert not peers[0].requests


async def test_a_name_and_examples_count_alike() -> None:
    peers = text_peer(), vision_peer()
    label = Label(name="cat", examples=[image(b"p"), image(b"q"), image(b"r")])
    request = ClassifyRequest(contents=[text("x")], labels=[label], templates=["{}"])
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Classify(request)
    prototype = unit(direction("cat") + mean("p", "q", "r"))
    assert scores(response.results[0].ranking)["cat"] == pytest.approx(float(direction("x") @ prototype), abs=1e-6)


async def test_probabilities_add_up_to_one_over_all_labels_also_where_few_are_returned() -> None:
    """Also by a sigmoid model: without multi_label one label is meant."""
    peers = text_peer(), vision_peer(), audio_peer()
    labels = [Label(name=name) for name in "abcd"]
    contents = [image(b"x"), audio(b"y"), text("z")]
    async with started(*peers), orchestrating(*peers) as mesh:
        whole = await mesh.stub.Classify(ClassifyRequest(contents=contents, labels=labels))
        best = await mesh.stub.Classify(ClassifyRequest(contents=contents, labels=labels, top_k=2))

    for place in (0, 2):
        ranking = whole.results[place].ranking.labels
        assert sum(label.probability for label in ranking) == pytest.approx(1.0, abs=1e-6)
        weights = np.exp(10.0 * np.asarray([label.score for label in ranking]))
        np.testing.assert_allclose([label.probability for label in ranking], weights / weights.sum(), rtol=1e-5)
        assert list(best.results[place].ranking.labels) == list(ranking[:2])
    assert not any(label.HasField("probability") for label in whole.results[1].ranking.labels)


async def test_with_multi_label_each_probability_is_by_itself() -> None:
    peers = text_peer(), vision_peer()
    labels = [Label(name=name) for name in "abc"]
    request = ClassifyRequest(contents=[image(b"x")], labels=labels, multi_label=True)
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Classify(request)
    for label in response.results[0].ranking.labels:
        assert label.probability == pytest.approx(1 / (1 + np.exp(-(10.0 * label.score - 5.0))), rel=1e-5)


async def test_multi_label_needs_a_bias_and_computes_nothing_without() -> None:
    peers = text_peer(), vision_peer()
    request = ClassifyRequest(contents=[image(b"x"), text("y")], labels=[Label(name="a")], multi_label=True)
    async with started(*peers), orchestrating(*peers) as mesh:
        error = await refused(mesh.stub.Classify(request))
    assert isinstance(error, FailedPrecondition)
    assert (error.reason, error.field, error.metadata) == (
        Reason.NOT_CALIBRATED,
        "multi_label",
        {"model": "toy-text@1"},
    )
    assert not peers[0].requests


async def test_a_vector_is_read_by_the_text_models_calibration() -> None:
    peer = text_peer(calibration=sigmoid_calibration())
    request = ClassifyRequest(contents=[embedded(direction("x"))], labels=[Label(name="a")], multi_label=True)
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Classify(request)
    assert response.results[0].ranking.labels[0].HasField("probability")


async def test_a_bad_content_fails_alone() -> None:
    peers = text_peer(), vision_peer()
    contents = [image(b"broken"), image(b"x"), Content()]
    async with started(*peers), orchestrating(*peers) as mesh:
        response = await mesh.stub.Classify(ClassifyRequest(contents=contents, labels=[Label(name="a")]))
    assert [result.HasField("ranking") for result in response.results] == [False, True, False]
    assert error_of(response.results[0]).field == "contents[0].image.data"
    assert error_of(response.results[2]).field == "contents[2]"


@pytest.mark.parametrize(
    ("label", "field"),
    [
        (Label(name="broken"), "labels[1].name"),
        (Label(name="b", examples=[image(b"x"), image(b"broken")]), "labels[1].examples[1].image.data"),
        (Label(name="b", examples=[Content()]), "labels[1].examples[0]"),
        (Label(name="b", examples=[embedded([1.0])]), "labels[1].examples[0].embedding.values"),
    ],
)
async def test_a_bad_label_fails_the_call_because_a_ranking_needs_them_all(label: Label, field: str) -> None:
    peers = text_peer(), vision_peer()
    request = ClassifyRequest(contents=[text("x")], labels=[Label(name="a"), label], templates=["{}"])
    async with started(*peers), orchestrating(*peers) as mesh:
        error = await refused(mesh.stub.Classify(request))
    assert isinstance(error, InvalidInput)
    assert error.field == field


def _request(**fields: object) -> ClassifyRequest:
    return ClassifyRequest(**({"contents": [text("x")], "labels": [Label(name="a")]} | fields))  # type: ignore[arg-type]  # as tests say


@pytest.mark.parametrize(
    ("request_", "field", "reason"),
    [
        (_request(contents=[]), "contents", Reason.EMPTY_REQUEST),
        (_request(contents=[text("x")] * 257), "contents", Reason.TOO_MANY_ITEMS),
        (_request(labels=[]), "labels", Reason.EMPTY_REQUEST),
        (_request(labels=[Label(name=f"l{i}") for i in range(1001)]), "labels", Reason.TOO_MANY_ITEMS),
        (_request(labels=[Label(name="a"), Label()]), "labels[1].name", Reason.FIELD_MISSING),
        (_request(labels=[Label(name=" ")]), "labels[0].name", Reason.FIELD_MISSING),
        (_request(labels=[Label(name="a"), Label(name="a")]), "labels[1].name", Reason.FIELD_INVALID),
        (_request(labels=[Label(name="a", is_tag=True)]), "labels[0].examples", Reason.FIELD_MISSING),
        (_request(labels=[Label(name="a", examples=[text("e")] * 101)]), "labels[0].examples", Reason.TOO_MANY_ITEMS),
        (_request(templates=["a {}", "no place"]), "templates[1]", Reason.FIELD_INVALID),
        (_request(templates=["{}"] * 101), "templates", Reason.TOO_MANY_ITEMS),
        (_request(top_k=-1), "top_k", Reason.FIELD_INVALID),
    ],
)
async def test_a_bad_request_is_refused_naming_the_field(request_: ClassifyRequest, field: str, reason: Reason) -> None:
    peer = text_peer()
    async with started(peer), orchestrating(peer) as mesh:
        error = await refused(mesh.stub.Classify(request_))
    assert isinstance(error, InvalidInput)
    assert (error.field, error.reason) == (field, reason)
    assert not peer.requests


async def test_a_thousand_labels_go_in_several_calls_few_at_a_time() -> None:
    peer = text_peer()
    labels = [Label(name=f"label {i}") for i in range(1000)]
    async with started(peer), orchestrating(peer) as mesh:
        response = await mesh.stub.Classify(ClassifyRequest(contents=[text("x")], labels=labels, top_k=3))
    assert len(response.results[0].ranking.labels) == 3
    assert sum(len(request.texts) for request in peer.requests) == 2001
    assert max(len(request.texts) for request in peer.requests) == 256
    assert peer.most_running <= 2


@pytest.mark.parametrize("multi_label", [False, True])
async def test_a_best_label_below_the_level_of_its_modality_is_probably_none_of_these(multi_label: bool) -> None:
    """Whatever its probability is; where no level is known, or applies, nothing is said."""
    unsure, sure = sigmoid_calibration(), sigmoid_calibration()
    unsure.none_cosine, sure.none_cosine = 0.9999, -0.9999
    peers = text_peer(calibration=unsure), vision_peer(calibration=sure), audio_peer(calibration=sigmoid_calibration())
    contents = [text("x"), image(b"x"), audio(b"x"), embedded(direction("x"))]
    request = ClassifyRequest(contents=contents, labels=[Label(name="a")], top_k=1, multi_label=multi_label)
    shown = ClassifyRequest(contents=contents, labels=[Label(name="a", examples=[text("b")])])
    async with started(*peers), orchestrating(*peers) as mesh:
        named = [each.ranking for each in (await mesh.stub.Classify(request)).results]
        by_example = [each.ranking for each in (await mesh.stub.Classify(shown)).results]

    assert [ranking.is_unsure for ranking in named] == [True, False, False, False]
    assert [ranking.none_cosine for ranking in named[:2]] == pytest.approx([0.9999, -0.9999])
    assert [ranking.HasField("none_cosine") for ranking in named] == [True, True, False, False]
    assert not any(ranking.is_unsure or ranking.HasField("none_cosine") for ranking in by_example)
