"""TLS of servers and peers: who gets in, what refuses to start, and certificates that change under load."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sensorium.channel import call, open_channel
from sensorium.credentials import channel_credentials
from sensorium.errors import PermissionDenied, Unavailable
from sensorium.v1 import model_pb2, model_pb2_grpc
from shared.serving.config import ConfigError
from shared.serving.metrics import Metrics
from shared.serving.peer_channel import PeerChannel
from shared.serving.server import Running, listening
from shared.serving.tls import FollowedIdentity
from shared.serving.tracing import Tracing
from tests.certificates import Authority, Issued, swap
from tests.running import metric, server_config
from tests.waiting import until


class Servicer(model_pb2_grpc.ModelServiceServicer):
    """Answers GetModel with the serial number of the certificate that the client shows; for `slow`, once it may."""

    def __init__(self, go_on: asyncio.Event | None = None) -> None:
        self._go_on = go_on

    async def GetModel(self, request: model_pb2.GetModelRequest, context: Any) -> model_pb2.GetModelResponse:
        if request.model == "slow" and self._go_on is not None:
            await self._go_on.wait()
        shown = context.auth_context().get("x509_pem_cert")
        name = str(x509.load_pem_x509_certificate(shown[0]).serial_number) if shown else ""
        return model_pb2.GetModelResponse(model=model_pb2.Model(name=name))


@contextlib.asynccontextmanager
async def serving(go_on: asyncio.Event | None = None, **fields: Any) -> AsyncIterator[Running]:
    def add(server: grpc.aio.Server) -> None:
        model_pb2_grpc.add_ModelServiceServicer_to_server(Servicer(go_on), server)  # type: ignore[abstract]  # only one rpc

    config = server_config(**fields)
    async with listening("test", config, ["sensorium.v1.ModelService"], add, Metrics("t"), Tracing("t", {})) as running:
        yield running


async def get(channel: grpc.aio.Channel, model: str = "") -> str:
    """Returns what the server saw of this client."""
    stub = model_pb2_grpc.ModelServiceStub(channel)
    answer = await call(stub.GetModel, model_pb2.GetModelRequest(model=model), timeout_s=10)
    return answer.model.name


async def ask(running: Running, ca: Path, pair: tuple[str, str] | None = None) -> str:
    """Makes one call over a connection of its own."""
    credentials = channel_credentials(ca, *(pair or (None, None)))
    async with open_channel(f"127.0.0.1:{running.port}", credentials=credentials) as channel:
        return await get(channel)


def shown_serial(port: int, authority: Authority) -> int:
    """Returns the serial number of the certificate that a server shows to a new connection."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        return int(str((secure.getpeercert() or {})["serialNumber"]), 16)


@pytest.fixture
def ca(tmp_path: Path) -> tuple[Authority, Path]:
    authority = Authority()
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.pem)
    return authority, path


CA = tuple[Authority, Path]


async def test_a_server_with_a_certificate_speaks_tls_and_nothing_else(tmp_path: Path, ca: CA) -> None:
    cert, key = ca[0].issue().write(tmp_path, "server")
    async with serving(tls_cert=cert, tls_key=key) as running:
        assert await ask(running, ca[1]) == ""
        async with open_channel(f"127.0.0.1:{running.port}") as plain:
            with pytest.raises(Unavailable):
                await get(plain)
        expires = metric(running, 'sensorium_tls_certificate_expiry_timestamp_seconds{certificate="tls_cert"}')
        assert 29 * 86_400 < expires - time.time() < 31 * 86_400


async def test_with_client_authorities_only_their_certificates_get_in(tmp_path: Path, ca: CA) -> None:
    cert, key = ca[0].issue().write(tmp_path, "server")
    good, other = ca[0].issue("client"), Authority("another").issue("client")
    expired, early = ca[0].issue(from_days=-9, to_days=-1), ca[0].issue(from_days=1, to_days=9)
    async with serving(tls_cert=cert, tls_key=key, tls_client_ca=str(ca[1])) as running:
        assert await ask(running, ca[1], good.write(tmp_path, "good")) == str(good.serial)
        bad = [None, *(each.write(tmp_path, f"bad{at}") for at, each in enumerate((other, expired, early)))]
        for pair in bad:
            with pytest.raises(Unavailable):
                await ask(running, ca[1], pair)


async def test_only_clients_of_certain_names_may_call_and_all_may_ask_for_health(tmp_path: Path, ca: CA) -> None:
    cert, key = ca[0].issue().write(tmp_path, "server")
    face = ca[0].issue("client", names=("face.mesh", "localhost"))
    other = ca[0].issue("client", names=("other.mesh", "localhost")).write(tmp_path, "other")
    fields: dict[str, Any] = {"tls_cert": cert, "tls_key": key, "tls_client_ca": str(ca[1])}
    async with serving(**fields, tls_client_names="face.mesh, spiffe://mesh/face") as running:
        assert await ask(running, ca[1], face.write(tmp_path, "face")) == str(face.serial)
        with pytest.raises(PermissionDenied, match=r"is of other\.mesh, localhost, whose calls"):
            await ask(running, ca[1], other)
        credentials = channel_credentials(ca[1], *other)
        async with open_channel(f"127.0.0.1:{running.port}", credentials=credentials) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)  # Any: its methods are not typed
            assert (await health.Check(health_pb2.HealthCheckRequest(), timeout=10)).status


async def test_a_client_leaves_a_server_whose_certificate_is_not_of_its_authority(tmp_path: Path, ca: CA) -> None:
    cert, key = Authority("another").issue().write(tmp_path, "server")
    async with serving(tls_cert=cert, tls_key=key) as running:
        with pytest.raises(Unavailable):
            await ask(running, ca[1])


def _wrong(folder: Path, authority: Authority) -> dict[str, tuple[tuple[str, str], str]]:
    """Returns pairs of certificate and key that must not do, each with what the message says."""
    cert, key = authority.issue().write(folder, "a")
    _, other_key = authority.issue().write(folder, "b")
    expired = authority.issue(from_days=-9, to_days=-2).write(folder, "expired")
    noise = folder / "noise.pem"
    noise.write_text("hello")
    empty = folder / "empty.pem"
    empty.write_text("")
    return {
        "missing": ((str(folder / "none.pem"), key), r"none.pem \(SENSORIUM_TLS_CERT\) cannot be read: No such file"),
        "no key": ((cert, str(folder / "none.key")), r"none.key \(SENSORIUM_TLS_KEY\) cannot be read"),
        "other key": (
            (cert, other_key),
            r"b.key \(SENSORIUM_TLS_KEY\) is not that of the first certificate in .*a.pem",
        ),
        "noise": ((str(noise), key), r"noise.pem \(SENSORIUM_TLS_CERT\) holds no certificate in PEM"),
        "noise as key": ((cert, str(noise)), r"noise.pem \(SENSORIUM_TLS_KEY\) holds no private key"),
        "empty": ((str(empty), key), "empty.pem .* is empty"),
        "expired": (expired, "expired.pem .* expired on .*; have it issued anew"),
        "swapped": ((key, cert), "a.key .* holds no certificate"),
    }


async def test_files_that_will_not_do_refuse_to_start_and_are_named(tmp_path: Path, ca: CA) -> None:
    for (cert, key), said in _wrong(tmp_path, ca[0]).values():
        with pytest.raises(ConfigError, match=said):
            async with serving(tls_cert=cert, tls_key=key):
                pytest.fail("it started")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tls_cert": "a"}, "SENSORIUM_TLS_CERT is set and SENSORIUM_TLS_KEY is not"),
        ({"tls_key": "a"}, "SENSORIUM_TLS_KEY is set and SENSORIUM_TLS_CERT is not"),
        ({"tls_client_names": "a"}, "SENSORIUM_TLS_CLIENT_NAMES is set and SENSORIUM_TLS_CLIENT_CA is not"),
        ({"tls_client_ca": "a"}, "SENSORIUM_TLS_CLIENT_CA is set and SENSORIUM_TLS_CERT is not"),
    ],
)
def test_half_a_configuration_is_refused(fields: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        server_config(**fields)


def _project(folder: Path, version: str, issued: Issued) -> None:
    """Writes a secret as Kubernetes does: files are links into `..data`, a link that is swapped at once."""
    (folder / version).mkdir()
    (folder / version / "tls.crt").write_bytes(issued.pem)
    (folder / version / "tls.key").write_bytes(issued.key_pem)
    (folder / "..new").symlink_to(version)
    os.replace(folder / "..new", folder / "..data")  # noqa: PTH105  # the plain name of it
    for name in ("tls.crt", "tls.key"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


async def test_a_certificate_that_is_swapped_under_load_costs_no_call(tmp_path: Path, ca: CA) -> None:
    """Connections come all the time, over one the calls go on, and the swaps are those of Kubernetes."""
    issued = [ca[0].issue() for _ in range(4)]
    _project(tmp_path, "..v0", issued[0])
    done = asyncio.Event()
    counts = {"calls": 0, "connections": 0}

    async def call_on(channel: grpc.aio.Channel) -> None:
        while not done.is_set():
            await get(channel)
            counts["calls"] += 1

    def reached(goal: dict[str, int]) -> bool:
        return all(counts[kind] >= count for kind, count in goal.items())

    async def connect_on() -> None:
        while not done.is_set():
            await ask(running, ca[1])
            counts["connections"] += 1

    cert, key = str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")
    async with (
        serving(tls_cert=cert, tls_key=key) as running,
        open_channel(f"127.0.0.1:{running.port}", credentials=channel_credentials(ca[1])) as channel,
        asyncio.TaskGroup() as load,
    ):
        load.create_task(call_on(channel))
        load.create_task(connect_on())
        for version, each in enumerate(issued[1:], 1):
            goal = {kind: count + 3 for kind, count in counts.items()}
            _project(tmp_path, f"..v{version}", each)
            assert await asyncio.to_thread(shown_serial, running.port, ca[0]) == each.serial
            await until(functools.partial(reached, goal))
        done.set()


async def test_a_bad_file_keeps_the_certificate_and_is_logged(
    tmp_path: Path, ca: CA, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = ca[0].issue(), ca[0].issue()
    cert, key = old.write(tmp_path, "server")
    async with serving(tls_cert=cert, tls_key=key) as running:
        swap(Path(cert), b"-----BEGIN CERTIFICATE-----\nnot one")
        assert await asyncio.to_thread(shown_serial, running.port, ca[0]) == old.serial
        assert "changed files cannot be used, so what they said before stays" in caplog.text
        swap(Path(cert), new.pem)  # the key is still the old one
        assert await asyncio.to_thread(shown_serial, running.port, ca[0]) == old.serial
        swap(Path(key), new.key_pem)
        assert await asyncio.to_thread(shown_serial, running.port, ca[0]) == new.serial
    assert "PRIVATE" not in caplog.text


async def test_client_authorities_are_followed_too(tmp_path: Path, ca: CA) -> None:
    cert, key = ca[0].issue().write(tmp_path, "server")
    other = Authority("another")
    pair = other.issue("client").write(tmp_path, "client")
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes(ca[0].pem)
    async with serving(tls_cert=cert, tls_key=key, tls_client_ca=str(trusted)) as running:
        with pytest.raises(Unavailable):
            await ask(running, ca[1], pair)
        swap(trusted, ca[0].pem + other.pem)
        await ask(running, ca[1], pair)


async def test_a_peer_channel_shows_the_certificate_of_now(tmp_path: Path, ca: CA) -> None:
    """Calls go on while it is swapped; those that run end over the old connection."""
    cert, key = ca[0].issue().write(tmp_path, "server")
    first, second = ca[0].issue("first"), ca[0].issue("second")
    pair = first.write(tmp_path, "client")
    done, go_on = asyncio.Event(), asyncio.Event()
    seen: list[str] = []
    async with serving(go_on, tls_cert=cert, tls_key=key, tls_client_ca=str(ca[1])) as running:
        identity = FollowedIdentity(pair, str(ca[1]), Metrics("t"), "peer")

        async def call_on(channel: grpc.aio.Channel) -> None:
            while not done.is_set():
                seen.append(await get(channel))

        async with PeerChannel(f"127.0.0.1:{running.port}", identity) as channel, asyncio.TaskGroup() as load:
            for _ in range(4):
                load.create_task(call_on(channel))
            slow = load.create_task(get(channel, "slow"))
            await until(lambda: len(seen) >= 20)
            second.write(tmp_path, "client")
            await until(lambda: str(second.serial) in seen)
            go_on.set()
            assert await slow == str(first.serial)
            done.set()
    assert set(seen) == {str(first.serial), str(second.serial)}


async def test_a_certificate_that_ends_soon_is_warned_of_once(
    tmp_path: Path, ca: CA, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = ca[0].issue(to_days=3).write(tmp_path, "server")
    with caplog.at_level(logging.WARNING, "sensorium.tls"):
        async with serving(tls_cert=cert, tls_key=key) as running:
            for _ in range(3):
                await ask(running, ca[1])
    assert caplog.text.count("a certificate expires soon") == 1
