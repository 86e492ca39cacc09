"""Writes golden.json: the numbers that the cases name, as the shipped models give them.

Run it after a change of the models or of a case, `python -m clients.conformance.make_expected`, and look at the
difference: where a model is the same, no number may change by more than the tolerance. The numbers come over the wire
through the driver of Python; that cosines are those of the vectors is checked by tests/clients/test_conformance_kit.py.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clients.conformance.case import GOLDEN, GOLDEN_MATCHERS, CaseError, raw_cases, resolved
from clients.conformance.driver_process import DriverProcess
from clients.conformance.meshes import Face, running_faces
from clients.conformance.vectors import numbers_fault

DRIVER = Path(__file__).parents[1] / "python" / "examples" / "driver.py"
_DIGITS = 7  # after the point: a hundredth of the tolerance
_ROUNDS = 3  # a case may send vectors that other cases have to give first


def main() -> None:
    """Asks every case that names golden numbers, and keeps the numbers."""
    with tempfile.TemporaryDirectory() as folder, running_faces(Path(folder)) as faces:
        golden = record(faces["plain"], Path(folder) / "driver.log")
    lines = (f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(golden[name])}" for name in sorted(golden))
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    print(f"{len(golden)} golden lists of numbers are in {GOLDEN}")


def record(face: Face, log: Path) -> dict[str, list[float | str]]:
    """Returns all golden numbers by their names.

    Raises:
        CaseError: two cases name the same numbers and get others, or a name is never given.
    """
    golden: dict[str, list[float | str]] = {}
    left = [case for case in raw_cases() if case.get("server", "plain") == "plain" and case["expect"]["status"] == "OK"]
    with DriverProcess([sys.executable, str(DRIVER), *face.arguments], log) as driver:
        for _ in range(_ROUNDS):
            waiting = []
            for raw in left:
                if {*_named(raw["requests"], ("$golden",))} - {*golden}:
                    waiting.append(raw)
                    continue
                asked = resolved({**raw, "expect": {}}, golden)
                answer = driver.ask(asked)
                if "response" in raw["expect"] and answer["responses"]:
                    for name, numbers in _given(raw["expect"]["response"], answer["responses"][0]):
                        _keep(golden, name, numbers, raw["name"])
            left = waiting
    wanted = {name for raw in raw_cases() for name in _named(raw, (*GOLDEN_MATCHERS, "$golden"))}
    if wanted - {*golden}:
        raise CaseError(f"no unary case gives {sorted(wanted - {*golden})} in full")
    return golden


def _keep(golden: dict[str, list[float | str]], name: str, numbers: Sequence[Any], case: str) -> None:
    rounded = [each if isinstance(each, str) else round(each, _DIGITS) for each in numbers]
    if fault := numbers_fault(golden.setdefault(name, rounded), rounded):
        raise CaseError(f"{case}: {name} {fault}, as another case has them")


def _given(wanted: Any, found: Any) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yields the name and the numbers wherever a template names golden ones; packed vectors give none."""
    if isinstance(wanted, list) and not any("$repeat" in each for each in wanted if isinstance(each, dict)):
        for one, other in zip(wanted, found, strict=True):
            yield from _given(one, other)
    if not isinstance(wanted, Mapping):
        return
    for key, value in wanted.items():
        if key == "$vector" and "values" in found:
            yield value, found["values"]
        elif key in ("$numbers", "$number"):
            yield value, found if isinstance(found, list) else [found]
        elif not re.match(r"\$|@", key) and isinstance(found, Mapping) and key in found:
            yield from _given(value, found[key])


def _named(value: Any, keys: Sequence[str]) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _named(each, keys)
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key in keys:
                yield each
            else:
                yield from _named(each, keys)


if __name__ == "__main__":
    main()
