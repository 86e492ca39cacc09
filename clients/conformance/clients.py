"""Builds one client and holds it to the cases: its first call, its tour, its driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clients.conformance.case import HOME, INPUTS, Case
from clients.conformance.driver_process import DriverError, DriverProcess
from clients.conformance.judge import faults
from clients.conformance.meshes import Face

CLIENTS = HOME.parent
SKIP = 77  # how a build.sh says that its toolchain is not there
_FIRST_S = 60.0
_TOUR_S = 120.0
_MOST_STARTS = 3  # of a driver that ends too early
_LAST_LINES = 12


@dataclass
class Outcome:
    """What became of one client.

    skipped: why it was not built; "" where it was.
    built_s: how long that took.
    checks: "first", "tour" and "tour secured", each with what went wrong, or "".
    cases: the cases that were judged, each with its faults.
    problem: what stopped everything else, such as a build that failed.
    """

    language: str
    skipped: str = ""
    built_s: float = 0.0
    checks: dict[str, str] = field(default_factory=dict)
    cases: dict[str, list[str]] = field(default_factory=dict)
    problem: str = ""

    @property
    def passed(self) -> int:
        """How many cases had no fault."""
        return sum(not wrong for wrong in self.cases.values())

    @property
    def is_right(self) -> bool:
        """Whether nothing was wrong; a client that was skipped is no failure."""
        return not self.problem and not any(self.checks.values()) and self.passed == len(self.cases)


def languages() -> list[str]:
    """Returns the clients that there are: the folders with a build.sh; Python, which needs nothing, first."""
    found = sorted(path.parent.name for path in CLIENTS.glob("*/build.sh"))
    return sorted(found, key=lambda name: name != "python")


def build(language: str, protos: Path, out: Path, limit_s: float) -> Outcome:
    """Builds a client into a folder, in so many seconds at most."""
    started = time.monotonic()
    command = ["bash", str(CLIENTS / language / "build.sh"), str(protos), str(out)]
    code, said = _ran(command, limit_s)
    outcome = Outcome(language, built_s=time.monotonic() - started)
    if code == SKIP:
        outcome.skipped = said.strip().splitlines()[-1] if said.strip() else "build.sh does not say why"
    elif code != 0:
        outcome.problem = f"build.sh {_ended(code, limit_s)}:\n{_tail(said)}"
    elif missing := [name for name in ("first", "tour", "driver") if not os.access(out / name, os.X_OK)]:
        outcome.problem = f"build.sh left no executable {', '.join(missing)} in {out}"
    return outcome


def check(outcome: Outcome, out: Path, faces: Mapping[str, Face], cases: Sequence[Case]) -> None:
    """Runs what was built against the meshes, and writes into the outcome what came of it."""
    outcome.checks["first"] = _first_fault(out, faces["plain"])
    tour = [str(out / "tour")]
    inputs = ["--inputs", str(INPUTS)]
    outcome.checks["tour"] = _run_fault([*tour, *faces["plain"].arguments, *inputs], _TOUR_S)
    outcome.checks["tour secured"] = _run_fault([*tour, *faces["secured"].arguments, *inputs], _TOUR_S)
    for server, face in faces.items():
        command = [str(out / "driver"), *face.arguments]
        outcome.cases |= run_driver(command, [case for case in cases if case.server == server], out / f"{server}.log")


def run_driver(command: Sequence[str], cases: Sequence[Case], log: Path) -> dict[str, list[str]]:
    """Returns what is wrong with a driver's answers, by case; a driver that ends too early is started again."""
    judged: dict[str, list[str]] = {}
    left = list(cases)
    for _ in range(_MOST_STARTS):
        with DriverProcess(command, log) as driver:
            while left:
                case = left.pop(0)
                try:
                    judged[case.name] = faults(case, driver.ask(case))
                except DriverError as fault:
                    judged[case.name] = [f"the driver {fault}"]
                    break
            else:
                ended = driver.end()
                if cases and ended:
                    judged[cases[-1].name].append(f"the driver {ended}")
                break
    return judged | {case.name: ["not asked, since the driver ended too often"] for case in left}


def _first_fault(out: Path, face: Face) -> str:
    code, said = _ran([str(out / "first"), *face.arguments], _FIRST_S)
    if code != 0:
        return f"{_ended(code, _FIRST_S)}:\n{_tail(said)}"
    missing = [word for word in ("tiny@1", "128") if word not in said]
    return f"does not print {' and '.join(missing)}, but: {_tail(said)}" if missing else ""


def _run_fault(command: Sequence[str], limit_s: float) -> str:
    code, said = _ran(command, limit_s)
    return f"{_ended(code, limit_s)}:\n{_tail(said)}" if code != 0 else ""


def _ran(command: Sequence[str], limit_s: float) -> tuple[int | None, str]:
    """Runs a command and returns its exit code, None where it was killed for taking too long, and what it wrote."""
    process = subprocess.Popen(  # noqa: S603  # scripts of this repository, and what they built
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, "PYTHON": sys.executable},  # for the client of Python
        cwd=CLIENTS.parent,
    )
    with process:
        try:
            said, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            return None, said.decode(errors="replace")
    return process.returncode, said.decode(errors="replace")


def _ended(code: int | None, limit_s: float) -> str:
    return f"took over {limit_s:.0f} s" if code is None else f"ended with exit code {code}"


def _tail(said: str) -> str:
    return "\n".join(f"  | {line}" for line in said.splitlines()[-_LAST_LINES:])
