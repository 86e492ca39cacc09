"""Builds every client and holds it to the same cases on real meshes: `python -m clients.conformance --help`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from clients.conformance.case import Case, load_cases
from clients.conformance.clients import CLIENTS, Outcome, build, check, languages
from clients.conformance.meshes import running_faces

_BUILD_S = 400.0
_TOOLCHAINS_S = 300.0
_MOST_SHOWN = 20  # faults of one client


def main() -> None:
    """Reads the command line; the exit status is 0 where every client that could be built did all as expected."""
    parser = argparse.ArgumentParser(prog="python -m clients.conformance", description=__doc__)
    parser.add_argument("--only", default="", help="clients to test, such as node,java; else all")
    parser.add_argument(
        "--no-install", action="store_true", help="do not try to install the toolchains that are missing"
    )
    parser.add_argument("--out", type=Path, default=Path("build/clients"), help="where they are built (build/clients)")
    parser.add_argument("--json", type=Path, help="write the outcomes to this file too")
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else languages()
    if strangers := sorted({*chosen} - {*languages()}):
        parser.error(f"there is no client {', '.join(strangers)}; there are {', '.join(languages())}")
    out = given.out.resolve()
    if not given.no_install:
        install_toolchains(chosen)
    outcomes = run(chosen, out, load_cases())
    if given.json:
        given.json.write_text(json.dumps([dataclasses.asdict(each) for each in outcomes], indent=2) + "\n", "utf-8")
    show(outcomes)
    raise SystemExit(0 if all(each.is_right for each in outcomes) else 1)


def install_toolchains(chosen: Sequence[str]) -> None:
    """Tries to install what the clients need; those whose needs are not met are skipped later, with a reason."""
    try:
        subprocess.run(["bash", str(CLIENTS / "toolchains.sh"), *chosen], check=False, timeout=_TOOLCHAINS_S)  # noqa: S603, S607
    except subprocess.TimeoutExpired:
        print(f"the toolchains were not installed within {_TOOLCHAINS_S:.0f} s")


def run(chosen: Sequence[str], out: Path, cases: Sequence[Case]) -> list[Outcome]:
    """Builds and tests clients one after the other, and says on stdout which is at work."""
    protos = out / "protos"
    subprocess.run(["bash", str(CLIENTS / "protos.sh"), str(protos)], check=True, timeout=120)  # noqa: S603, S607
    outcomes = []
    # A folder of its own: the servers of another run follow the certificates and tokens in theirs.
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder, running_faces(Path(folder)) as faces:
        for language in chosen:
            print(f"{language}: building", flush=True)
            outcome = build(language, protos, out / language, _BUILD_S)
            if not outcome.skipped and not outcome.problem:
                print(f"{language}: {len(cases)} cases", flush=True)
                check(outcome, out / language, faces, cases)
            outcomes.append(outcome)
    return outcomes


def show(outcomes: Sequence[Outcome]) -> None:
    """Prints the table, and below it what was wrong."""
    console = Console()
    table = Table("client", "built in", "first", "tour", "tour, secured", "cases")
    for each in outcomes:
        if each.skipped or each.problem:
            table.add_row(each.language, "SKIPPED" if each.skipped else "FAILED")
            continue
        words = ["failed" if each.checks[name] else "ok" for name in ("first", "tour", "tour secured")]
        table.add_row(each.language, f"{each.built_s:.1f} s", *words, f"{each.passed} of {len(each.cases)}")
    console.print(table)
    for each in outcomes:
        wrong = [f"{name}: {fault}" for name, fault in each.checks.items() if fault]
        wrong += [f"{name}: {fault}" for name, faults in each.cases.items() for fault in faults]
        for line in [each.skipped, each.problem, *wrong][: _MOST_SHOWN + 2]:
            if line:
                console.print(f"{each.language}: {line}", markup=False, highlight=False, soft_wrap=True)
        if len(wrong) > _MOST_SHOWN:
            console.print(f"{each.language}: and {len(wrong) - _MOST_SHOWN} more; --json FILE has all")


if __name__ == "__main__":
    main()
