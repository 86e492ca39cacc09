"""Keeps an environment of its own for each peer, under build/bench/peers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.models.folder import BUILD
from bench.systems.system import System, SystemFault

_LIMIT_S = 1_200


def python_of(system: System) -> Path:
    """Returns the interpreter that a system runs with; ours have the one that runs here."""
    return _folder(system) / "bin" / "python" if system.packages else Path(sys.executable)


def is_installed(system: System) -> bool:
    """Returns whether its packages are there."""
    stamp = _folder(system) / "installed"
    return not system.packages or (stamp.is_file() and stamp.read_text().split("\n") == [*system.packages])


def install(system: System) -> None:
    """Installs what is missing.

    Raises:
        SystemFault: pip refused; with its last lines, which stay until it is tried again.
    """
    if is_installed(system):
        return
    folder = _folder(system)
    pip = [str(python_of(system)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *system.packages]
    for command in ([sys.executable, "-m", "venv", str(folder)], pip):
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_LIMIT_S)
        except subprocess.CalledProcessError as fault:
            raise SystemFault(f"does not install: {fault.stderr.decode(errors='replace').strip()[-400:]}") from None
        except subprocess.TimeoutExpired:
            raise SystemFault(f"does not install within {_LIMIT_S} s") from None
    (folder / "installed").write_text("\n".join(system.packages))


def versions(system: System) -> dict[str, str]:
    """Returns the versions of the packages that a system was installed from."""
    if not system.packages or not is_installed(system):
        return {}
    names = [name.split("[")[0].split("<")[0] for name in system.packages]
    code = "import importlib.metadata as m, sys; print(*(m.version(n) for n in sys.argv[1:]))"
    said = subprocess.run([str(python_of(system)), "-c", code, *names], capture_output=True, timeout=60, check=False)
    return dict(zip(names, said.stdout.decode().split(), strict=False))


def _folder(system: System) -> Path:
    return BUILD / "peers" / system.name.lower()
