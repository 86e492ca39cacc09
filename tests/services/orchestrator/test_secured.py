"""The orchestrator and a real text service, with TLS on every hop, certificates on both sides, and tokens."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sensorium
from sensorium.channel import call, open_channel
from sensorium.credentials import channel_credentials
from sensorium.errors import Overloaded, PermissionDenied, Reason, SensoriumError, Unauthenticated, Unavailable
from sensorium.v1 import model_pb2, model_pb2_grpc, orchestrator_pb2
from services.orchestrator.app import serving as orchestrating
from services.orchestrator.config import Config
from services.text.app import serving as encoding
from services.text.config import Config as TextConfig
from shared.serving.config import ConfigError
from shared.serving.server import Running
from tests.certificates import Authority
from tests.running import metric, server_config
from tests.waiting import until

USER, ADMIN, OWN = "plain", "admin", "own"  # no secrets
SERVING = orchestrator_pb2.SERVICE_STATE_SERVING


@dataclass(frozen=True)
class Secured:
    """A mesh of two, and the folder with its certificates."""

    face: Running
    text: Running
    folder: Path
    authority: Authority

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.face.port}"

    def client(self, token: str | None = None, ca: str = "ca.pem") -> sensorium.AsyncClient:
        return sensorium.AsyncClient(self.address, token=token, ca=self.folder / ca)


@contextlib.asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[Secured]:
    authority = Authority()
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "other.pem").write_bytes(Authority("another").pem)
    (folder / "own").write_text(OWN)
    roles = {USER: "user", ADMIN: "admin", OWN: "user"}
    lines = [f"{name}-tenant {role} {hashlib.sha256(name.encode()).hexdigest()}\n" for name, role in roles.items()]
    (folder / "tokens").write_text("".join(lines))
    (folder / "quotas").write_text("[tenants.plain-tenant]\nitems_per_s = 1\nburst_items = 20\n")
    ca, tokens = str(folder / "ca.pem"), str(folder / "tokens")
    text_pair, face_pair = (authority.issue(name).write(folder, name) for name in ("text", "face"))
    peer_pair = authority.issue("peer", names=("orchestrator.mesh",)).write(folder, "peer")
    encoder = server_config(
        tls_cert=text_pair[0],
        tls_key=text_pair[1],
        tls_client_ca=ca,
        tls_client_names="orchestrator.mesh",
        tokens=tokens,
    )
    face = server_config(tls_cert=face_pair[0], tls_key=face_pair[1], tokens=tokens, quotas=str(folder / "quotas"))
    async with encoding(TextConfig(server=encoder)) as text:
        config = Config(
            server=face,
            text_addr=f"127.0.0.1:{text.port}",
            peer_ca=ca,
            peer_cert=peer_pair[0],
            peer_key=peer_pair[1],
            peer_token=str(folder / "own"),
        )
        async with orchestrating(config) as running:
            yield Secured(running, text, folder, authority)


async def until_serving(client: sensorium.AsyncClient) -> None:
    """Returns once the text service was seen and its models are listed; bounded by the test's time."""
    while True:
        mesh = await client.describe()
        if any(each.name == "text" and each.state == SERVING and each.models for each in mesh.services):
            return
        await asyncio.sleep(0.02)


async def load(mesh: Secured, token: str) -> None:
    credentials = channel_credentials(mesh.folder / "ca.pem")
    async with open_channel(mesh.address, credentials=credentials) as channel:
        stub = model_pb2_grpc.ModelServiceStub(channel)
        sent = (("authorization", f"Bearer {token}"),)
        await call(stub.LoadModel, model_pb2.LoadModelRequest(model="nothing"), timeout_s=10, metadata=sent)


async def test_a_call_goes_through_every_hop_and_nobody_else_s_does(tmp_path: Path) -> None:
    async with secured(tmp_path) as mesh:
        async with mesh.client(ADMIN) as client:
            await until_serving(client)
            found = await client.embed([sensorium.text("a red circle")])
            assert len(found.vectors) == 1
            assert not found.errors
        async with mesh.client(USER) as client:
            await client.embed([sensorium.text("a red circle")] * 20, max_tries=1)
            with pytest.raises(Overloaded) as over:
                await client.embed([sensorium.text("a red circle")] * 20, max_tries=1)
            assert over.value.reason is Reason.QUOTA_EXCEEDED
        own = mesh.authority.issue("client").write(tmp_path, "client")  # of the right authority, and the wrong name
        text = f"127.0.0.1:{mesh.text.port}"
        tries: list[tuple[sensorium.AsyncClient, type[SensoriumError]]] = [
            (mesh.client(None), Unauthenticated),
            (mesh.client("wrong"), Unauthenticated),
            (mesh.client(ADMIN, "other.pem"), Unavailable),  # the client leaves a server that it does not trust
            (sensorium.AsyncClient(mesh.address, token=ADMIN), Unavailable),  # plain text
            (sensorium.AsyncClient(text, token=ADMIN, ca=tmp_path / "ca.pem"), Unavailable),  # without a certificate
        ]
        for client, kind in tries:
            async with client:
                with pytest.raises(kind):
                    await client.describe()
        async with open_channel(text, credentials=channel_credentials(tmp_path / "ca.pem", *own)) as channel:
            stub = model_pb2_grpc.ModelServiceStub(channel)
            sent = (("authorization", f"Bearer {ADMIN}"),)
            with pytest.raises(PermissionDenied, match="of localhost, whose calls this server does not take"):
                await call(stub.ListModels, model_pb2.ListModelsRequest(), timeout_s=10, metadata=sent)


async def test_a_stream_that_is_turned_away_while_it_sends_says_why(tmp_path: Path) -> None:
    texts = [(str(at), sensorium.text("x" * 2000)) for at in range(500)]
    async with secured(tmp_path) as mesh:
        for _ in range(30):  # gRPC loses the status of about one in five
            async with mesh.client() as client:
                with pytest.raises(Unauthenticated, match="is missing"):
                    await anext(client.embed_stream(texts))


async def test_admin_calls_reach_the_peer_with_the_callers_token(tmp_path: Path) -> None:
    async with secured(tmp_path) as mesh:
        async with mesh.client(ADMIN) as client:
            await until_serving(client)
        with pytest.raises(PermissionDenied):
            await load(mesh, USER)
        with pytest.raises(sensorium.errors.NotFound, match="text service"):  # it got as far as the peer
            await load(mesh, ADMIN)


async def test_certificates_of_every_hop_are_rotated_under_load(tmp_path: Path) -> None:
    """No call fails while the files of all three change, one after the other."""
    done = asyncio.Event()
    count = 0

    async def call_on(client: sensorium.AsyncClient) -> None:
        nonlocal count
        while not done.is_set():
            await client.embed([sensorium.text(f"a {count}")])
            count += 1

    def reached(goal: int) -> bool:
        return count >= goal

    def says(service: Running, line: str, value: float) -> bool:
        return metric(service, line) == value

    async with secured(tmp_path) as mesh, mesh.client(ADMIN) as client:
        await until_serving(client)
        async with asyncio.TaskGroup() as calls:
            for _ in range(4):
                calls.create_task(call_on(client))
            hops = [("text", mesh.text, "tls_cert"), ("peer", mesh.face, "peer_cert"), ("face", mesh.face, "tls_cert")]
            for days, (name, service, option) in enumerate([*hops, *hops], 40):
                renewed = mesh.authority.issue(name, to_days=days, names=("localhost", "orchestrator.mesh"))
                renewed.write(tmp_path, name)
                line = f'sensorium_tls_certificate_expiry_timestamp_seconds{{certificate="{option}"}}'
                ends = renewed.certificate.not_valid_after_utc.timestamp()
                await until(functools.partial(says, service, line, ends))
                await until(functools.partial(reached, count + 20))
            done.set()
        async with mesh.client(ADMIN) as fresh:
            await fresh.embed([sensorium.text("b")])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"peer_cert": "a"}, "SENSORIUM_PEER_CERT is set and SENSORIUM_PEER_KEY is not"),
        ({"peer_cert": "a", "peer_key": "b"}, "SENSORIUM_PEER_CERT is set and SENSORIUM_PEER_CA is not"),
    ],
)
def test_half_an_identity_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config(text_addr="text:8001", **fields)


async def test_files_of_peers_that_will_not_do_refuse_to_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.pem \(SENSORIUM_PEER_CA\) cannot be read"):
        async with orchestrating(Config(server_config(), text_addr="text:8001", peer_ca=str(tmp_path / "none.pem"))):
            pytest.fail("it started")
