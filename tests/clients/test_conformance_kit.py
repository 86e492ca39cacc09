"""The kit that holds clients to the contract: its judge finds what is wrong, and the client of Python passes it."""

from __future__ import annotations

import base64
import copy
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients.conformance.case import Case, CaseError, load_cases, load_golden, raw_cases, resolved
from clients.conformance.clients import build, check, run_driver
from clients.conformance.driver_process import DriverError, DriverProcess
from clients.conformance.judge import faults
from clients.conformance.meshes import running_faces
from clients.conformance.vectors import embedding_fault
from sensorium.v1 import orchestrator_pb2

CASES = {case.name: case for case in load_cases()}
GOLDEN = load_golden()
THREE = [float(each) for each in GOLDEN["text three"]]
ANY = "type.googleapis.com/google.rpc."


def test_the_driver_of_python_passes_all_cases(tmp_path: Path) -> None:
    outcome = build("python", tmp_path, tmp_path / "python", 60)
    assert not outcome.skipped
    with running_faces(tmp_path / "mesh") as faces:
        check(outcome, tmp_path / "python", faces, list(CASES.values()))
    assert {name: fault for name, fault in outcome.checks.items() if fault} == {}
    assert {name: wrong for name, wrong in outcome.cases.items() if wrong} == {}
    assert outcome.is_right
    assert outcome.cases.keys() == CASES.keys()


def test_the_cases_cover_every_method_and_both_meshes() -> None:
    assert len(CASES) >= 40
    service = orchestrator_pb2.DESCRIPTOR.services_by_name["OrchestratorService"]
    assert {case.method for case in CASES.values()} == {method.name for method in service.methods}
    assert {case.server for case in CASES.values()} == {"plain", "secured"}
    assert all(case.why for case in CASES.values())


def test_golden_cosines_are_those_of_golden_vectors() -> None:
    rows = np.array([GOLDEN[name] for name in ("three.png", "seven.png", "three.wav")], float)
    columns = np.array([GOLDEN["text three"], GOLDEN["text seven"]], float)
    scores = np.array(GOLDEN["scores of three.png, seven.png, three.wav and three, seven"], float).reshape(3, 2)
    np.testing.assert_allclose(rows @ columns.T, scores, atol=2e-6)
    assert np.linalg.norm(columns, axis=1) == pytest.approx([1, 1], abs=1e-5)


def answer_to(name: str, response: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    responses = [] if response is None else [response]
    return {
        "case": name,
        "status": "OK",
        "message": "",
        "responses": responses,
        "details": [],
        "metadata": {},
        **fields,
    }


def embedded(*vectors: list[float]) -> dict[str, Any]:
    results = [{"embedding": {"space": "tiny@1", "dim": 128, "values": vector}} for vector in vectors]
    part = {"model": "tiny-text", "version": "1", "fingerprint": "f"}
    return {"results": results, "receipt": {"tokenCount": "3", "totalNs": 5, "parts": [part]}}


def test_a_right_answer_has_no_faults_in_either_spelling() -> None:
    assert faults(CASES["embed-text"], answer_to("embed-text", embedded(THREE))) == []
    snake = json.loads(json.dumps(embedded(THREE)).replace("tokenCount", "token_count").replace("totalNs", "total_ns"))
    assert faults(CASES["embed-text"], answer_to("embed-text", snake)) == []


def test_a_vector_within_the_tolerance_passes_and_one_beyond_does_not() -> None:
    near, far = [each + 5e-6 for each in THREE], [*THREE]
    far[7] += 5e-5
    assert faults(CASES["embed-text"], answer_to("embed-text", embedded(near))) == []
    (fault,) = faults(CASES["embed-text"], answer_to("embed-text", embedded(far)))
    assert fault.startswith("response.results[0].embedding: 1 of 128 numbers are wrong: [7] is ")


def spoilt(change: Callable[[dict[str, Any]], object]) -> list[str]:
    answer = answer_to("embed-text", copy.deepcopy(embedded(THREE)))
    change(answer)
    return faults(CASES["embed-text"], answer)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda answer: answer.update(status="UNKNOWN", message="lost"), "status: is 'UNKNOWN' (lost), not OK"),
        (lambda answer: answer.update(case="another"), "case: is 'another', not 'embed-text'"),
        (lambda answer: answer["responses"].clear(), "responses: are 0, not 1"),
        (lambda answer: answer["responses"][0]["results"].clear(), "response.results: has 0 entries, not 1"),
        (
            lambda answer: answer["responses"][0]["results"][0].clear(),
            "response.results[0].embedding: there is no embedding",
        ),
        (lambda answer: answer["responses"][0].pop("receipt"), "response.receipt: is None, not an object"),
        (
            lambda answer: answer["responses"][0]["results"][0]["embedding"].update(dim="64"),
            "response.results[0].embedding.dim: is '64', not 128",
        ),
        (
            lambda answer: answer["responses"][0]["results"][0]["embedding"]["values"].pop(),
            "response.results[0].embedding: has 127 numbers, not 128",
        ),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_found(change: Callable[[dict[str, Any]], object], fault: str) -> None:
    assert fault in spoilt(change)


def refused(*details: Mapping[str, Any], **fields: Any) -> list[str]:
    return faults(
        CASES["embed-nothing"],
        answer_to(
            "embed-nothing",
            **{
                "status": "INVALID_ARGUMENT",
                "message": "contents: is empty",
                "details": [*details],
                "metadata": {"x-request-id": "made"},
                **fields,
            },
        ),
    )


BAD = {"@type": ANY + "BadRequest", "fieldViolations": [{"field": "contents", "description": "is empty"}]}
INFO = {"@type": ANY + "ErrorInfo", "reason": "ERROR_REASON_EMPTY_REQUEST", "domain": "sensorium"}


def test_a_refusal_needs_its_details_decoded() -> None:
    assert refused(BAD, INFO) == []
    assert refused(INFO) == ["details: has no BadRequest"]
    assert refused(BAD) == ["details: has no ErrorInfo"]
    assert refused({"@type": ANY + "BadRequest"}, INFO) == ["details: BadRequest is [], without 'contents'"]
    assert refused(BAD, {**INFO, "domain": "other"}) == [
        "details: ErrorInfo is [], without 'ERROR_REASON_EMPTY_REQUEST'"
    ]
    assert refused(BAD, INFO, {"@type": ANY + "RetryInfo", "retryDelay": "1s"}) == ["details: RetryInfo is there"]
    assert refused(BAD, INFO, metadata={}) == ["metadata[x-request-id]: is missing"]
    assert refused(BAD, INFO, message="") == ["details: there is no message"]


def one_bad(error: object) -> list[str]:
    case = CASES["embed-broken-among-good"]
    good, picture = {"values": THREE}, {"values": GOLDEN["three.png"]}
    results = [{"embedding": good}, {"error": error} if error else {"embedding": good}, {"embedding": picture}]
    return faults(case, answer_to(case.name, {"results": results}))


def test_an_item_error_may_have_bare_details_but_not_lack_them() -> None:
    message, bare = (
        "contents[1].image.data: is no picture",
        [{"@type": ANY + "BadRequest"}, {"@type": ANY + "ErrorInfo"}],
    )
    assert one_bad({"code": 3, "message": message, "details": bare}) == []
    assert one_bad({"code": 3, "message": message, "details": bare[:1]}) == [
        "response.results[1].error: has no ErrorInfo"
    ]
    assert one_bad({"code": 13, "message": message, "details": bare}) == [
        "response.results[1].error: code is 13, not 3"
    ]
    assert one_bad(None) == ["response.results[1].error: there is no error"]
    wrong = {"@type": ANY + "BadRequest", "fieldViolations": [{"field": "contents[0]", "description": "is empty"}]}
    (fault,) = one_bad({"code": 3, "message": message, "details": [wrong, bare[1]]})
    assert fault.endswith("BadRequest is ['contents[0]'], without 'contents[1].image.data'")


def streamed(ids: list[str]) -> list[str]:
    case = resolved(
        {
            "name": "s", "why": "w", "method": "EmbedStream",
            "requests": [{"$repeat": {"count": 4, "of": [{"id": "{i}"}, {"id": "{i}"}]}}],
            "expect": {"status": "OK", "stream": {"answers": 4, "each": [{"result": {"a": 1}}, {"result": {"a": 2}}]}},
        },
        GOLDEN,
    )  # fmt: skip
    responses = [{"id": name, "result": {"a": 1 + int(name) % 2}} for name in ids]
    return faults(case, answer_to("s", responses=responses))


def test_a_stream_is_judged_by_ids_in_any_order() -> None:
    assert streamed(["3", "0", "2", "1"]) == []
    assert streamed(["0", "1", "2"]) == ["responses: are 3, not 4"]
    assert streamed(["0", "1", "2", "2"]) == ["responses: have 1 ids twice"]
    assert streamed(["0", "1", "2", "9"]) == ["responses: have ids that were not sent: ['9']"]


def test_a_stream_whose_answers_are_swapped_is_found() -> None:
    case = CASES["stream-one"]
    response = {"id": "only", "result": {"embedding": {"values": GOLDEN["text seven"]}}}
    (fault,) = faults(case, answer_to(case.name, response))
    assert fault.startswith("response only.result.embedding: 128 of 128 numbers are wrong")


def packed(encoding: str, content: bytes, **fields: object) -> str:
    text = base64.b64encode(content).decode()
    return embedding_fault(THREE, {"encoding": f"VECTOR_ENCODING_{encoding}", "packed": text, **fields})


def test_packed_vectors_are_read_by_their_encoding() -> None:
    vector = np.array(THREE)
    scale = float(np.abs(vector).max() / 127)
    assert packed("FLOAT16", vector.astype("<f2").tobytes()) == ""
    assert packed("FLOAT16", vector.astype(">f2").tobytes()) != ""
    assert packed("INT8", (vector / scale).round().astype("i1").tobytes(), scale=scale) == ""
    assert packed("INT8", (vector / scale).round().astype("i1").tobytes()) != ""  # without its scale
    assert packed("BINARY", np.packbits(vector > 0).tobytes()) == ""
    assert packed("BINARY", np.packbits(vector > 0, bitorder="little").tobytes()) != ""
    assert packed("BINARY", np.packbits(vector > 0).tobytes()[:-1]) == "has 120 bits, not 128 filled up to whole bytes"
    assert packed("FLOAT64", b"") == "has the unknown encoding FLOAT64"


def test_nan_is_expected_and_found_as_a_string() -> None:
    case = CASES["compare-with-nan"]
    scores, probabilities = GOLDEN["scores with NaN"], GOLDEN["probabilities with NaN"]
    assert "NaN" in scores
    response = {"query_count": 2, "candidate_count": 3, "scores": [*scores], "probabilities": [*probabilities]}
    assert not any("scores" in fault for fault in faults(case, answer_to(case.name, response)))
    response["scores"] = [0 if each == "NaN" else each for each in scores]
    assert any("response.scores: 4 of 6" in fault for fault in faults(case, answer_to(case.name, response)))


def test_a_case_file_with_a_slip_is_refused(tmp_path: Path) -> None:
    good = {"name": "a", "why": "b", "method": "Embed", "requests": [], "expect": {"status": "OK"}}
    for bad in ([{**good, "methd": "x"}], [good, good], [{"name": "a"}]):
        (tmp_path / "cases.json").write_text(json.dumps(bad))
        with pytest.raises(CaseError, match=r"cases\.json: a"):
            raw_cases(tmp_path)
    with pytest.raises(CaseError, match=r"a: .*none\.png"):
        resolved({**good, "requests": [{"data": {"$base64_of": "none.png"}}]}, GOLDEN)


def driver(tmp_path: Path, code: str) -> list[str]:
    script = tmp_path / "driver.py"
    script.write_text(code)
    return [sys.executable, str(script)]


def test_a_driver_that_dies_fails_its_case_and_the_next_are_asked_anew(tmp_path: Path) -> None:
    code = (
        "import json, sys\nfor line in sys.stdin:\n    case = json.loads(line)['case']\n"
        "    if case == 'a': sys.exit('no more')\n"
        "    print(json.dumps({'case': case, 'status': 'OK', 'responses': [{}]}), flush=True)\n"
    )
    cases = [Case(name, "why", "Embed", [], {"status": "OK"}) for name in "abc"]
    judged = run_driver(driver(tmp_path, code), cases, tmp_path / "log")
    assert judged == {"a": ["the driver ended before it answered; its last words: no more"], "b": [], "c": []}


def test_a_driver_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.conformance.driver_process._EXTRA_S", 0.2)
    case = Case("a", "why", "Embed", [], {"status": "OK"}, deadline_ms=100)
    silent = driver(tmp_path, "import sys\nfor line in sys.stdin: pass\n")
    with DriverProcess(silent, tmp_path / "log") as process, pytest.raises(DriverError, match="did not answer within"):
        process.ask(case)


def test_a_build_without_its_toolchain_is_skipped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clients.conformance.clients.CLIENTS", tmp_path)
    (tmp_path / "none").mkdir()
    script = tmp_path / "none" / "build.sh"
    script.write_text("echo >&2 'none: no compiler; install with: apt-get install none'; exit 77\n")
    outcome = build("none", tmp_path, tmp_path / "out", 10)
    assert (outcome.skipped, outcome.problem) == ("none: no compiler; install with: apt-get install none", "")
    script.write_text("echo broken; exit 1\n")
    assert "ended with exit code 1:\n  | broken" in build("none", tmp_path, tmp_path / "out", 10).problem
    script.write_text("exit 0\n")
    assert "left no executable first, tour, driver" in build("none", tmp_path, tmp_path / "out", 10).problem
    assert os.listdir(tmp_path / "none") == ["build.sh"]  # noqa: PTH208  # the plain names
