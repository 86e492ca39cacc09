"""What a run measures: which inputs, with how many callers, how often and for how long."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.inputs import KINDS, TEXT_COUNT, TEXTS
from bench.models.folder import BUILD, ROOT
from bench.systems.ours import ours
from bench.systems.peers import peers
from bench.systems.system import Setting, System

_FEW, _MANY = 8, 32  # callers that a sweep looks at
_QUICK_TEXTS = 128  # so that the limit goes through all of them within a second
_LUMPS = ", 32 a call"
_INGEST = {_LUMPS: 4, ", stream": 64}  # callers; of a stream, messages that are not answered yet


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module.

    seconds, raw_s: of one slice of a system with texts, and of the limit before and after it.
        The limit goes on until its inputs are through, so its slices are longer.
    sweep_s: of one slice of the sweep; 0 takes each peer's first setting.
    limit_s: cells that would end later are left out.
    text_count: how many texts of a kind there are.
    soak_requests: after how many the memory is read; 0 leaves it out. cold_rounds: how often each service is started.
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
    sweep_warmup_s: float
    open_s: float
    rates: Sequence[float]
    is_quick: bool
    limit_s: float
    installs: bool
    out: Path
    text_count: int = TEXT_COUNT
    soak_requests: int = 0
    cold_rounds: int = 0

    @property
    def sweep_callers(self) -> Sequence[int]:
        """With how many callers the settings are tried: 8 stands for fewer too, 32 for more."""
        return sorted({swept_at(callers) for callers in self.callers})

    def settings(self, system: System, kind: str) -> Sequence[Setting]:
        """Returns what the sweep tries: for texts all settings, else, to save time, one of each batch size."""
        if kind in TEXTS:
            return system.settings
        return list({setting.get("batch"): setting for setting in reversed(system.settings)}.values())[::-1]

    def slice_s(self, kind: str, system: System) -> float:
        """Returns the seconds of a slice: longer where answers come in lumps.

        Of pictures a batch takes 1.6 s with many callers; a call of 32 mixed texts takes 1 s.
        """
        if system.name.endswith(_LUMPS) and not self.is_quick:
            return 3.0 * self.seconds
        return self.seconds * (1.5 if kind == "image" else 1.0)

    def sweep_slice_s(self, kind: str) -> float:
        """Returns the seconds of a slice of the sweep; longer for pictures, as above."""
        return self.sweep_s * (3.0 if kind == "image" else 1.0)

    def is_loaded_openly(self, system: System, kind: str) -> bool:
        """Returns whether a system gets open loops: only where its wire tells it the caller's deadline.

        Peers get them with texts alone, to save time.
        """
        is_worth_it = kind in TEXTS or not system.packages
        return bool(self.open_s) and is_worth_it and system.has_deadlines and ", " not in system.name

    def scales(self, kind: str) -> bool:
        """Returns whether one core is compared with all: for texts, which load the server most."""
        return not self.is_quick and kind in TEXTS

    def cells(self, kind: str) -> Iterator[tuple[int, Sequence[System]]]:
        """Returns the numbers of callers, each with the systems that are compared at it."""
        fitting = [system for system in self.systems if kind in system.kinds]
        ingest = {system.name: callers for system in fitting for suffix, callers in _INGEST.items()
                  if system.name.endswith(suffix)}  # fmt: skip
        for callers in self.callers:
            if kind not in TEXTS and callers > _MANY and _MANY in self.callers:
                continue  # pictures fill the cores long before
            yield callers, [system for system in fitting if system.name not in ingest]
        for callers in sorted(set(ingest.values())):
            yield callers, [system for system in fitting if ingest.get(system.name) == callers]


def swept_at(callers: int) -> int:
    """Returns the number of callers whose best setting is taken."""
    return _FEW if callers <= _FEW else _MANY


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
        systems=systems, kinds=kinds, callers=callers, rounds=given.rounds or (1 if quick else 2),
        seconds=given.seconds or (1.8 if quick else 4.0), raw_s=0.5 if quick else 1.0,
        warmup_s=0.3 if quick else 0.5, sweep_s=0.0 if quick or given.no_sweep else 1.5, sweep_warmup_s=0.5,
        open_s=0.0 if quick else 8.0, rates=[float(each) for each in given.rates.split(",") if each],
        is_quick=quick, limit_s=165.0 if quick else float("inf"), installs=not quick, out=out,
        text_count=_QUICK_TEXTS if quick else TEXT_COUNT,
        soak_requests=100_000 if given.soak else 0 if quick else 5_000, cold_rounds=1 if quick else 3,
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
    parser.add_argument("--rounds", type=int, default=0, help="how often each cell is measured, in alternation (2)")
    parser.add_argument("--seconds", type=float, default=0.0, help="of one slice (4)")
    parser.add_argument("--rates", default="", help="calls a second of the open loops, comma-separated; else shares of "
                        "the capacity")  # fmt: skip
    parser.add_argument("--soak", action="store_true", help="read the memory after 100,000 requests, not 5,000")
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
