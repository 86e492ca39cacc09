"""Opens the client of a command, and says what to do where no mesh answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sensorium import Client
from sensorium.cli.failures import UsageFault
from sensorium.errors import Unavailable


@contextlib.contextmanager
def connected(address: str, timeout_s: float) -> Iterator[Client]:
    """Yields a client of the mesh at an address.

    Raises:
        Unavailable: nothing answers there; the message says how to start a mesh.
    """
    with reaching(address), Client(address, timeout_s=timeout_s) as client:
        yield client


@contextlib.contextmanager
def reaching(address: str) -> Iterator[None]:
    """Explains an address at which nothing answers; what a mesh itself says passes unchanged.

    Raises:
        UsageFault: the address is empty.
    """
    if not address.strip():
        raise UsageFault("the address is empty; give --address or SENSORIUM_ADDR as HOST:PORT")
    try:
        yield
    except Unavailable as error:
        if error.metadata:  # an answer of ours, which names the service that is down
            raise
        raise Unavailable(
            f"no mesh answers at {address}; start one with `sensorium up`, or name another with --address "
            f"or SENSORIUM_ADDR ({error.problem})"
        ) from None
