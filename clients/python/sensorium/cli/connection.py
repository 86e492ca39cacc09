"""Opens the client of a command, and says what to do where no mesh answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import grpc

from sensorium import Client
from sensorium.channel import Metadata
from sensorium.cli.failures import UsageFault
from sensorium.cli.login import current_login
from sensorium.credentials import channel_credentials, token_header
from sensorium.errors import Unavailable
from sensorium.handshake import tls_fault


@contextlib.contextmanager
def connected(address: str, timeout_s: float) -> Iterator[Client]:
    """Yields a client of the mesh at an address.

    Raises:
        Unavailable: nothing answers there; the message says how to start a mesh.
    """
    with reaching(address), Client(address, timeout_s=timeout_s, **current_login()) as client:
        yield client


def authorized(address: str) -> tuple[grpc.ChannelCredentials | None, Metadata]:
    """Returns what a command's own channel is opened with, and the metadata of its calls.

    Raises:
        InvalidInput: a file cannot be used, or the token would go over plain text to another machine.
    """
    login = current_login()
    credentials = channel_credentials(login.get("ca"), login.get("cert"), login.get("key"))
    token = login.get("token")
    if not token:
        return credentials, ()
    insecure = login.get("insecure_token", False)
    return credentials, (token_header(token, address, is_encrypted=credentials is not None, insecure_token=insecure),)


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
        login = current_login()
        fault = tls_fault(address, login.get("ca"), login.get("cert"), login.get("key"))
        if fault:
            raise Unavailable(f"a server is at {address}, and {fault}") from None
        raise Unavailable(
            f"no mesh answers at {address}; start one with `sensorium up`, or name another with --address "
            f"or SENSORIUM_ADDR ({error.problem})"
        ) from None
