"""Reads cases/*.json and fills in what they name: the bytes of files, golden vectors, and repeated messages."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent
CASES = HOME / "cases"
INPUTS = HOME / "inputs"
GOLDEN = HOME / "golden.json"
SERVICE = "sensorium.v1.OrchestratorService"

GOLDEN_MATCHERS = ("$vector", "$numbers", "$number")  # each names golden numbers
_KNOWN = {"name", "why", "server", "method", "deadline_ms", "metadata", "requests", "token", "cancel_after", "expect"}
_EXPECTED = {"status", "details", "metadata", "response", "stream"}

Golden = Mapping[str, Sequence[float | str]]


class CaseError(Exception):
    """A case file is wrong; the message names the file, the case and the fault."""


@dataclass(frozen=True)
class Case:
    """One call and what must come of it.

    server: "plain" or "secured", the mesh that is called.
    method: a method of the orchestrator, such as "Embed".
    requests: messages in protobuf's JSON mapping; more than one for EmbedStream alone.
    token: sent instead of the driver's own; "" sends none, None leaves the driver's.
    cancel_after: after how many answers the stream is cancelled; None never.
    expect: see README.md; what it names with `$golden` is filled in.
    """

    name: str
    why: str
    method: str
    requests: Sequence[Mapping[str, Any]]  # Any: JSON
    expect: Mapping[str, Any]
    server: str = "plain"
    deadline_ms: int = 10_000
    metadata: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    cancel_after: int | None = None

    def line(self) -> str:
        """Returns the line of JSON that a driver is given."""
        request: dict[str, Any] = {
            "case": self.name,
            "method": f"{SERVICE}/{self.method}",
            "deadline_ms": self.deadline_ms,
            "metadata": dict(self.metadata),
            "requests": list(self.requests),
        }
        if self.token is not None:
            request["token"] = self.token
        if self.cancel_after is not None:
            request["cancel_after"] = self.cancel_after
        return json.dumps(request, ensure_ascii=False)


def load_golden(path: Path = GOLDEN) -> Golden:
    """Returns the golden numbers by their name; NaN stands as "NaN", as in protobuf's JSON mapping."""
    golden: Golden = json.loads(path.read_text("utf-8"))
    return golden


def raw_cases(folder: Path = CASES) -> list[dict[str, Any]]:
    """Returns the cases as they are written, file by file.

    Raises:
        CaseError: a file is no JSON, a case lacks a field or has an unknown one, or a name is there twice.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            cases = json.loads(path.read_text("utf-8"))
        except ValueError as fault:
            raise CaseError(f"{path.name}: {fault}") from None
        for case in cases:
            name = case.get("name", "without a name")
            unknown = {*case} - _KNOWN | {*case.get("expect", {})} - _EXPECTED
            missing = {"name", "why", "method", "requests", "expect"} - {*case}
            if unknown or missing or name in found:
                parts = [f"unknown {sorted(unknown)}"] * bool(unknown) + [f"missing {sorted(missing)}"] * bool(missing)
                raise CaseError(f"{path.name}: {name}: {'; '.join(parts) or 'the name is there twice'}")
            found[name] = case
    return list(found.values())


def load_cases(folder: Path = CASES, golden: Golden | None = None) -> list[Case]:
    """Returns the cases, ready to be sent and judged.

    Raises:
        CaseError: as `raw_cases`, or a case names a file or golden numbers that are not there.
    """
    known = load_golden() if golden is None else golden
    return [resolved(case, known) for case in raw_cases(folder)]


def resolved(raw: Mapping[str, Any], golden: Golden) -> Case:
    """Returns one case with everything that it names filled in."""
    try:
        requests = [filled for each in raw["requests"] for filled in _repeated(each)]
        return Case(
            **{
                **raw,
                "requests": [_filled(each, golden) for each in requests],
                "expect": _filled(raw["expect"], golden),
            }
        )
    except (KeyError, OSError) as fault:
        raise CaseError(f"{raw['name']}: {fault} is not there") from None


def _repeated(each: Any) -> list[Any]:
    """Returns `{"$repeat": {"count": n, "of": [...]}}` written out, "{i}" in strings replaced; others as they are."""
    if not isinstance(each, dict) or "$repeat" not in each:
        return [each]
    count, of = each["$repeat"]["count"], each["$repeat"]["of"]
    return [_numbered(of[place % len(of)], place) for place in range(count)]


def _numbered(value: Any, place: int) -> Any:
    if isinstance(value, str):
        return value.replace("{i}", str(place))
    if isinstance(value, list):
        return [_numbered(each, place) for each in value]
    if isinstance(value, dict):
        return {key: _numbered(each, place) for key, each in value.items()}
    return value


def _filled(value: Any, golden: Golden) -> Any:
    """Returns a JSON value with files, repetitions and golden numbers in the place of their names."""
    if isinstance(value, list):
        return [_filled(filled, golden) for each in value for filled in _repeated(each)]
    if not isinstance(value, dict):
        return value
    if "$base64_of" in value:
        content = (INPUTS / value["$base64_of"]).read_bytes()
        return base64.b64encode(content[: value.get("first")]).decode()
    if "$text" in value:
        return value["$text"] * value["times"]
    if "$golden" in value:
        return list(golden[value["$golden"]])
    return {key: golden[each] if key in GOLDEN_MATCHERS else _filled(each, golden) for key, each in value.items()}
