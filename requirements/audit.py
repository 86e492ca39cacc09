"""Asks for known vulnerabilities of all that the lock files name; exit code 1 where there are some.

Runs pip-audit, which asks the Python Package Index. Where that cannot be reached nothing is audited, and a line says
so: exit code 0, or 2 with `--required`, for a pipeline that must not pass unaudited.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_LOCKS = Path(__file__).resolve().parent
_TIMEOUT_S = 300


def main() -> int:
    """Audits every lock file and returns the exit code."""
    found: dict[str, Any] = {}  # Any: what pip-audit says of a package, by its name and version
    for lock in sorted(_LOCKS.glob("*.txt")):
        try:
            answers = _ask(lock)
        except _Unreachable as silence:
            return _not_audited(str(silence))
        found |= {f"{each['name']} {each.get('version', '')}".strip(): each for each in answers}
    skipped = [name for name, each in found.items() if "skip_reason" in each]
    if len(skipped) == len(found):
        return _not_audited(found[skipped[0]]["skip_reason"] if skipped else "no lock file names a package")
    for name in skipped:
        print(f"{name}: not audited: {found[name]['skip_reason']}")
    faults = [(name, fault) for name, each in found.items() for fault in each.get("vulns", ())]
    for name, fault in faults:
        print(f"{name}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'no version yet'}")
    print(f"{len(found) - len(skipped)} packages audited, {len(faults)} known vulnerabilities")
    return 1 if faults else 0


class _Unreachable(Exception):
    """No answer came; the message is pip-audit's last line."""


def _ask(lock: Path) -> list[dict[str, Any]]:  # Any: JSON
    command = ["pip-audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--timeout", "15"]
    done = subprocess.run(
        [*command, "--format", "json", "--requirement", str(lock)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_TIMEOUT_S,
    )
    if not done.stdout.startswith("{"):
        raise _Unreachable((done.stderr.strip() or "it said nothing").splitlines()[-1])
    answers: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    return answers


def _not_audited(why: str) -> int:
    print(f"NOT AUDITED: no vulnerability service can be reached from here ({why})")
    return 2 if "--required" in sys.argv[1:] else 0


if __name__ == "__main__":
    raise SystemExit(main())
