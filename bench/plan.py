"""What a run measures: which inputs, with how many callers, how often and for how long."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.inputs import KINDS
from bench.models.folder import BUILD, ROOT
from bench.systems.ours import ours
from bench.systems.peers import peers
from bench.systems.system import System

_INGEST = {", 32 a call": 4, ", stream": 64}  # callers; of a stream, messages that are not answered yet


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module.

    seconds, raw_s: of one slice of a system, and of the limit before and after it.
    sweep_s: of one slice of the sweep; 0 takes each peer's first setting.
    limit_s: cells that would end later are left out.
    open_s: of an open loop; 0 leaves them out. rates: of these, in calls a second; none takes shares of the capacity.
    """

    systems: Sequence[System]
    kinds: Sequence[str]
    callers: Sequence[int]
    rounds: int
    seconds: float
    raw_s: float
    warmup_s: float
    sweep_s: float
    open_s: float
    rates: Sequence[float]
    is_quick: bool
    limit_s: float
    installs: bool
    out: Path

    def cells(self, kind: str) -> Iterator[tuple[int, Sequence[System]]]:
        """Returns the numbers of callers, each with the systems that are compared at it."""
        fitting = [system for system in self.systems if kind in system.kinds]
        ingest = {system.name: callers for system in fitting for suffix, callers in _INGEST.items()
                  if system.name.endswith(suffix)}  # fmt: skip
        for callers in self.callers:
            yield callers, [system for system in fitting if system.name not in ingest]
        for callers in sorted(set(ingest.values())):
            yield callers, [system for system in fitting if ingest.get(system.name) == callers]


def read_plan(argv: Sequence[str] | None = None) -> Plan:
    """Returns the plan that the command line asks for; prints and exits where it is wrong."""
    parser = _parser()
    given = parser.parse_args(argv)
    systems = [*ours(), *(system for variant in given.variant for system in _variant(parser, variant)), *peers()]
    if given.systems:
        wanted = given.systems.split(";")
        unknown = set(wanted) - {system.name for system in systems}
        if unknown:
            parser.error(f"--systems: unknown: {', '.join(sorted(unknown))}; known: "
                         + "; ".join(system.name for system in systems))  # fmt: skip
        systems = [system for system in systems if system.name in wanted]
    quick = given.quick
    kinds = given.kinds.split(",") if given.kinds else ["short", "mixed"] if quick else list(KINDS)
    if set(kinds) - set(KINDS):
        parser.error(f"--kinds: {given.kinds} is none of {', '.join(KINDS)}")
    callers = (
        [int(each) for each in given.callers.split(",")] if given.callers else [1, 32] if quick else [1, 8, 32, 64]
    )
    out = given.out or (BUILD / "quick" if quick else ROOT / "bench" / "results")
    return Plan(
        systems=systems, kinds=kinds, callers=callers, rounds=given.rounds or (1 if quick else 3),
        seconds=given.seconds or (1.8 if quick else 5.0), raw_s=0.5 if quick else 2.5,
        warmup_s=0.3 if quick else 1.0, sweep_s=0.0 if quick or given.no_sweep else 2.0,
        open_s=0.0 if quick else 10.0, rates=[float(each) for each in given.rates.split(",") if each],
        is_quick=quick, limit_s=165.0 if quick else float("inf"), installs=not quick, out=out,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Times our services and other servers against onnxruntime alone: the same model file, the same "
        "inputs, in alternation. Writes a table, a JSON file and plots.",
    )
    parser.add_argument("--quick", action="store_true", help="in 3 minutes: texts, what is installed, no sweep")
    parser.add_argument("--kinds", default="", help=f"of {','.join(KINDS)}")
    parser.add_argument("--callers", default="", help="of the closed loops (1,8,32,64)")
    parser.add_argument("--systems", default="", help="names, with ; between them; all unless given")
    parser.add_argument("--rounds", type=int, default=0, help="how often each cell is measured, in alternation (3)")
    parser.add_argument("--seconds", type=float, default=0.0, help="of one slice (5)")
    parser.add_argument("--rates", default="", help="calls a second of the open loops, comma-separated; else shares of "
                        "the capacity")  # fmt: skip
    parser.add_argument("--no-sweep", action="store_true", help="take each peer's first setting")
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME:[PYTHON]:VARIABLE=VALUE,…",
        help="our services once more, in another way, e.g. bf16:.venv-ov/bin/python:SENSORIUM_PROVIDERS=openvino,"
        "SENSORIUM_PRECISION=bf16; repeatable",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="folder for the results (bench/results)")
    return parser


def _variant(parser: argparse.ArgumentParser, given: str) -> Sequence[System]:
    parts = given.split(":", 2)
    if len(parts) != 3 or not parts[0]:
        parser.error(f"--variant: {given!r} is not NAME:[PYTHON]:VARIABLE=VALUE,…")
    environ = dict(pair.split("=", 1) for pair in parts[2].split(",") if "=" in pair)
    return ours(f"sensorium {parts[0]}", environ, Path(parts[1]).absolute() if parts[1] else None)
