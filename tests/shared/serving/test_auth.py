"""Nobody gets in who may not: tokens of files and of issuers, one row a way to try."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sensorium.channel import call, open_channel
from sensorium.errors import PermissionDenied, Reason, SensoriumError, Unauthenticated, Unavailable
from sensorium.status import from_rpc_error
from sensorium.v1 import model_pb2, model_pb2_grpc, text_pb2, text_pb2_grpc
from shared.serving.access import Access
from shared.serving.auth import FileTokens, peer_token
from shared.serving.call import Call, current_call
from shared.serving.config import ConfigError
from shared.serving.jwks import KeyUrl
from shared.serving.metrics import Metrics
from shared.serving.server import Running, listening
from shared.serving.tracing import Tracing
from tests.certificates import swap
from tests.issuer import AUDIENCE, ISSUER, Issuer
from tests.running import server_config

USER, ADMIN = "plain-token", "admin-token"  # no secrets


def line(tenant: str, role: str, token: str) -> str:
    return f"{tenant} {role} {hashlib.sha256(token.encode()).hexdigest()}\n"


class Servicer(model_pb2_grpc.ModelServiceServicer):
    """Answers with the tenant, and notes what would be passed on to peers."""

    def __init__(self) -> None:
        self.passed_on: list[dict[str, str]] = []

    async def GetModel(self, request: model_pb2.GetModelRequest, context: object) -> model_pb2.GetModelResponse:
        self.passed_on.append(dict(current_call().outgoing()))
        return model_pb2.GetModelResponse(model=model_pb2.Model(name=current_call().tenant))

    async def LoadModel(self, request: model_pb2.LoadModelRequest, context: object) -> model_pb2.LoadModelResponse:
        return model_pb2.LoadModelResponse(model=model_pb2.Model(name=current_call().tenant))


@contextlib.asynccontextmanager
async def serving(servicer: Servicer | None = None, **fields: Any) -> AsyncIterator[grpc.aio.Channel]:
    known = servicer or Servicer()  # type: ignore[abstract]  # two rpcs are called

    def add(server: grpc.aio.Server) -> None:
        model_pb2_grpc.add_ModelServiceServicer_to_server(known, server)

    async with contextlib.AsyncExitStack() as stack:
        running: Running = await stack.enter_async_context(
            listening(
                "test", server_config(**fields), ["sensorium.v1.ModelService"], add, Metrics("t"), Tracing("t", {})
            )
        )
        yield await stack.enter_async_context(open_channel(f"127.0.0.1:{running.port}"))


async def get(channel: grpc.aio.Channel, authorization: str | None, *, admin: bool = False) -> str:
    """Returns the tenant that the server took the caller for."""
    stub = model_pb2_grpc.ModelServiceStub(channel)
    sent = () if authorization is None else (("authorization", authorization),)
    if admin:
        loaded = await call(stub.LoadModel, model_pb2.LoadModelRequest(model="m"), timeout_s=10, metadata=sent)
        return loaded.model.name
    answer = await call(stub.GetModel, model_pb2.GetModelRequest(), timeout_s=10, metadata=sent)
    return answer.model.name


async def refused_at_last(channel: grpc.aio.Channel, authorization: str) -> Unauthenticated:
    """Returns the refusal of a token that was good, as soon as there is one; bounded by the test's time."""
    while True:
        try:
            await get(channel, authorization)
        except Unauthenticated as refusal:
            return refusal
        await asyncio.sleep(0.05)


def tokens(folder: Path) -> str:
    path = folder / "tokens"
    path.write_text("# who may call\n\n" + line("acme", "user", USER) + line("ops", "admin", ADMIN))
    return str(path)


def jwt_fields(jwks: str) -> dict[str, Any]:
    return {"jwks": jwks, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}


def confused(issuer: Issuer) -> str:
    """Returns a token signed by HS256 with the public key as the secret, which a careless server takes for its own."""
    kid, (_, key) = list(issuer.keys.items())[-1]
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": kid}
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "acme", "exp": time.time() + 600}
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (header, claims)]
    signature = hmac.digest(pem, b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def unsigned(issuer: Issuer) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "acme", "exp": time.time() + 600}
    return jwt.encode(claims, "", "none", headers={"kid": list(issuer.keys)[-1]})


def tampered(issuer: Issuer) -> str:
    head, body, tail = issuer.sign().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    other = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "ops"}).encode()).rstrip(b"=").decode()
    return f"{head}.{other}.{tail}"


def foreign(issuer: Issuer) -> str:
    """Returns a token that another signs in the name of the issuer and of its key."""
    other = Issuer()
    other.rotate(kid=list(issuer.keys)[-1])
    return other.sign()


def unpublished(issuer: Issuer) -> str:
    other = Issuer()
    other.rotate(kid="nowhere")
    return other.sign()


# How somebody tries, what is sent, and the cause in the details.
NOBODY: list[tuple[str, Callable[[Issuer], str | None], str]] = [
    ("no token", lambda _: None, "missing"),
    ("another scheme", lambda _: "Basic YTpi", "malformed"),
    ("an empty token", lambda _: "Bearer ", "malformed"),
    ("an endless token", lambda _: "Bearer " + "x" * 9000, "malformed"),
    ("a wrong token", lambda _: "Bearer wrong", "unknown"),
    ("the digest of a token", lambda _: "Bearer " + hashlib.sha256(USER.encode()).hexdigest(), "unknown"),
    ("two dots and no JWT", lambda _: "Bearer a.b.c", "malformed"),
    ("expired", lambda issuer: "Bearer " + issuer.sign(exp=time.time() - 100), "expired"),
    ("expired, beyond the leeway", lambda issuer: "Bearer " + issuer.sign(exp=time.time() - 31), "expired"),
    ("not yet, beyond the leeway", lambda issuer: "Bearer " + issuer.sign(nbf=time.time() + 35), "early"),
    ("issued in the future", lambda issuer: "Bearer " + issuer.sign(iat=time.time() + 35), "early"),
    ("without an end", lambda issuer: "Bearer " + issuer.sign(exp=None), "claims"),
    ("of no issuer", lambda issuer: "Bearer " + issuer.sign(iss=None), "issuer|claims"),
    ("of another issuer", lambda issuer: "Bearer " + issuer.sign(iss="https://evil.test"), "issuer"),
    ("for nobody", lambda issuer: "Bearer " + issuer.sign(aud=None), "audience|claims"),
    ("for others", lambda issuer: "Bearer " + issuer.sign(aud=["shop", "mail"]), "audience"),
    ("without a tenant", lambda issuer: "Bearer " + issuer.sign(sub=None), "claims"),
    ("with a tenant that breaks lines", lambda issuer: "Bearer " + issuer.sign(sub="a\nb"), "claims"),
    ("signed by another in its name", lambda issuer: "Bearer " + foreign(issuer), "signature"),
    ("of a key that is not published", lambda issuer: "Bearer " + unpublished(issuer), "key"),
    ("changed after it was signed", lambda issuer: "Bearer " + tampered(issuer), "signature"),
    ("alg none", lambda issuer: "Bearer " + unsigned(issuer), "algorithm"),
    ("HS256 with the public key", lambda issuer: "Bearer " + confused(issuer), "algorithm"),
]


@pytest.mark.parametrize(("way", "sent", "cause"), NOBODY, ids=[row[0] for row in NOBODY])
async def test_nobody_gets_in(tmp_path: Path, way: str, sent: Callable[[Issuer], str | None], cause: str) -> None:
    issuer = Issuer()
    issuer.rotate()
    jwks = tmp_path / "jwks.json"
    jwks.write_text(issuer.jwks())
    servicer = Servicer()  # type: ignore[abstract]  # two rpcs are called
    async with serving(servicer, tokens=tokens(tmp_path), **jwt_fields(str(jwks))) as channel:
        with pytest.raises(Unauthenticated) as refused:
            await get(channel, sent(issuer))
    error = refused.value
    assert (error.reason, error.field) == (Reason.UNAUTHENTICATED, "authorization"), way
    assert error.metadata["cause"] in cause.split("|")
    assert not servicer.passed_on, "the servicer saw nothing of the call"
    token = (sent(issuer) or "").partition(" ")[2]
    assert not token or token not in str(error)


async def test_nobodys_request_is_read_before_its_token_is_good(tmp_path: Path) -> None:
    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with serving(tokens=tokens(tmp_path)) as channel:
        method: Any = channel.stream_unary("/sensorium.v1.ModelService/GetModel")
        async with asyncio.timeout(10):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await method(never(), timeout=60)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_good_tokens_get_in_and_are_passed_on(tmp_path: Path, algorithm: str) -> None:
    issuer = Issuer()
    issuer.rotate(algorithm)
    jwks = tmp_path / "jwks.json"
    jwks.write_text(issuer.jwks())
    servicer = Servicer()  # type: ignore[abstract]  # two rpcs are called
    async with serving(servicer, tokens=tokens(tmp_path), **jwt_fields(str(jwks))) as channel:
        assert await get(channel, f"Bearer {USER}") == "acme"
        assert await get(channel, f"bearer {ADMIN}") == "ops"
        token = issuer.sign(sub="shop")
        assert [await get(channel, f"Bearer {token}") for _ in range(2)] == ["shop", "shop"]
        assert servicer.passed_on[-1]["authorization"] == f"Bearer {token}"


async def test_clocks_may_differ_by_the_leeway(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.rotate()
    jwks = tmp_path / "jwks.json"
    jwks.write_text(issuer.jwks())
    now = time.time()
    async with serving(**jwt_fields(str(jwks)), jwt_leeway_s=60) as channel:
        for claims in ({"exp": now - 50}, {"nbf": now + 50}, {"iat": now + 50}):
            assert await get(channel, "Bearer " + issuer.sign(**claims)) == "acme"
        for claims in ({"exp": now - 61}, {"nbf": now + 70}):
            with pytest.raises(Unauthenticated):
                await get(channel, "Bearer " + issuer.sign(**claims))


async def test_a_token_that_was_good_is_refused_once_it_has_expired(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.rotate()
    jwks = tmp_path / "jwks.json"
    jwks.write_text(issuer.jwks())
    async with serving(**jwt_fields(str(jwks)), jwt_leeway_s=0) as channel:
        token = "Bearer " + issuer.sign(exp=int(time.time()) + 2)
        assert await get(channel, token) == "acme"
        assert (await refused_at_last(channel, token)).metadata["cause"] == "expired"


async def test_a_stream_ends_when_its_token_does(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.rotate()
    jwks = tmp_path / "jwks.json"
    jwks.write_text(issuer.jwks())

    class Echo(text_pb2_grpc.TextEncoderServiceServicer):
        async def EncodeTextStream(
            self, requests: AsyncIterator[text_pb2.EncodeTextStreamRequest], context: object
        ) -> AsyncIterator[text_pb2.EncodeTextStreamResponse]:
            async for request in requests:
                yield text_pb2.EncodeTextStreamResponse(id=request.id)

    def add(server: grpc.aio.Server) -> None:
        text_pb2_grpc.add_TextEncoderServiceServicer_to_server(Echo(), server)  # type: ignore[abstract]  # one rpc

    config = server_config(**jwt_fields(str(jwks)), jwt_leeway_s=0)
    async with (
        listening("t", config, ["sensorium.v1.TextEncoderService"], add, Metrics("t"), Tracing("t", {})) as running,
        open_channel(f"127.0.0.1:{running.port}") as channel,
    ):
        sent = (("authorization", "Bearer " + issuer.sign(exp=int(time.time()) + 2)),)
        stream = text_pb2_grpc.TextEncoderServiceStub(channel).EncodeTextStream(timeout=10, metadata=sent)
        await stream.write(text_pb2.EncodeTextStreamRequest(id="a"))
        answer = await stream.read()
        assert isinstance(answer, text_pb2.EncodeTextStreamResponse)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stream.read()
        error = from_rpc_error(ended.value)
        assert isinstance(error, Unauthenticated)
        assert error.metadata["cause"] == "expired"


async def test_admin_calls_need_the_role(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.rotate()
    jwks = tmp_path / "jwks.json"
    jwks.write_text(issuer.jwks())
    async with serving(tokens=tokens(tmp_path), **jwt_fields(str(jwks)), jwt_role_claim="realm.roles") as channel:
        assert await get(channel, f"Bearer {ADMIN}", admin=True) == "ops"
        assert await get(channel, "Bearer " + issuer.sign(realm={"roles": ["x", "sensorium-admin"]}), admin=True)
        for plain in (
            USER,
            issuer.sign(),
            issuer.sign(realm={"roles": ["admin"]}),
            issuer.sign(roles="sensorium-admin"),
        ):
            with pytest.raises(PermissionDenied) as refused:
                await get(channel, f"Bearer {plain}", admin=True)
            assert refused.value.reason is Reason.PERMISSION_DENIED
            method = "/sensorium.v1.ModelService/LoadModel"
            assert refused.value.metadata == {"method": method, "tenant": "acme"}
        with pytest.raises(Unauthenticated):
            await get(channel, None, admin=True)


async def test_health_is_open_and_reflection_is_not(tmp_path: Path) -> None:
    async def reflect(sent: tuple[tuple[str, str], ...]) -> int:
        kind: Any = reflection_pb2_grpc.ServerReflectionStub  # Any: typed for synchronous channels
        stub = kind(channel)
        asked = stub.ServerReflectionInfo(timeout=10, metadata=sent)
        await asked.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        await asked.done_writing()
        try:
            return len((await asked.read()).list_services_response.service)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    async with serving(tokens=tokens(tmp_path)) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # Any: the same
        assert (await health.Check(health_pb2.HealthCheckRequest(), timeout=10)).status
        assert await reflect((("authorization", f"Bearer {USER}"),)) == 3
        with pytest.raises(Unauthenticated):
            await reflect(())


async def test_a_changed_file_of_tokens_counts_and_a_bad_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(tokens(tmp_path))
    known = FileTokens(str(path))
    access = Access([known])

    async def tenant(token: str) -> str:
        known._entries._looked = 0.0  # as if a second had passed
        nobody: Any = None  # Any: without names to check, nothing is asked of the context
        await access.admit(Call("/x", "id", time.monotonic() + 9, authorization=f"Bearer {token}"), nobody)
        return current_call().tenant

    assert await tenant(USER) == "acme"
    swap(path, line("shop", "user", "another").encode())
    assert await tenant("another") == "shop"
    with pytest.raises(Unauthenticated):
        await tenant(USER)
    with caplog.at_level(logging.ERROR):
        swap(path, b"my-secret-token-in-the-wrong-file\n")
        assert await tenant("another") == "shop"
    assert "line 1: is not <tenant> <role> <sha256>" in caplog.text
    assert "my-secret" not in caplog.text
    await asyncio.to_thread(path.unlink)
    assert await tenant("another") == "shop"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("acme user\n", "line 1: is not <tenant> <role> <sha256>"),
        ("# x\nacme root " + "0" * 64, "line 2: the role is not one of user, admin"),
        ("acme user secret\n", "line 1: the third part is not the SHA-256"),
        ("[{]", "is no JSON"),
        ('[{"tenant": "a b", "sha256": "' + "0" * 64 + '"}]', "entry 0: the tenant is not"),
        ("[1]", "entry 0: the tenant is not"),
        ("", "is empty"),
    ],
)
def test_a_file_of_tokens_that_will_not_do_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(content)
    with pytest.raises(ConfigError, match="tokens .SENSORIUM_TOKENS.*" + said) as refused:
        FileTokens(str(path))
    assert "secret" not in str(refused.value)


async def test_tokens_may_be_json(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    digest = hashlib.sha256(USER.encode()).hexdigest()
    path.write_text(json.dumps([{"tenant": "acme", "sha256": digest}]))
    caller = await FileTokens(str(path)).verify(USER)
    assert caller is not None
    assert (caller.tenant, caller.is_admin) == ("acme", False)


async def test_keys_are_fetched_anew_for_a_new_key_but_not_for_every_made_up_one() -> None:
    issuer = Issuer()
    issuer.rotate()
    with issuer.published() as url:
        async with serving(**jwt_fields(url)) as channel:
            assert await get(channel, "Bearer " + issuer.sign()) == "acme"
            for _ in range(20):
                with pytest.raises(Unauthenticated):
                    await get(channel, "Bearer " + unpublished(issuer))
            assert issuer.fetches == 1, "within ten seconds of the first"
        keys = KeyUrl(url, again_s=0.0)
        old = await keys.keys()
        kid = issuer.rotate("RS256")
        assert kid not in await keys.keys()
        assert kid in await keys.keys(kid)
        assert keys.known() is not old


async def test_keys_that_were_taken_back_end_the_tokens_that_they_signed(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.rotate()
    jwks = tmp_path / "jwks.json"
    jwks.write_text(issuer.jwks())
    async with serving(**jwt_fields(str(jwks))) as channel:
        token = "Bearer " + issuer.sign()
        assert await get(channel, token) == "acme"
        issuer.rotate()
        del issuer.keys["key0"]
        swap(jwks, issuer.jwks().encode())
        await refused_at_last(channel, token)  # within the second between two looks at the file
        assert await get(channel, "Bearer " + issuer.sign()) == "acme"


async def test_without_any_keys_callers_are_told_to_come_back(tmp_path: Path) -> None:
    issuer = Issuer()
    issuer.rotate()
    with issuer.published() as url:
        pass  # and now nothing listens there
    async with serving(tokens=tokens(tmp_path), **jwt_fields(url)) as channel:
        with pytest.raises(Unavailable) as refused:
            await get(channel, "Bearer " + issuer.sign())
        assert refused.value.retry_after_s == 10
        assert await get(channel, f"Bearer {USER}") == "acme", "other tokens do not need them"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"jwks": "x"}, "SENSORIUM_JWKS is set without SENSORIUM_JWT_ISSUER and SENSORIUM_JWT_AUDIENCE"),
        ({"jwt_issuer": "x", "jwt_audience": "y"}, "SENSORIUM_JWKS is not"),
        ({"quotas": "x"}, "SENSORIUM_QUOTAS is set"),
    ],
)
def test_half_a_configuration_is_refused(fields: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        server_config(**fields)


@pytest.mark.parametrize("url", ["http://issuer.test/jwks", "ftp://localhost/x", "file:///etc/passwd"])
def test_keys_come_by_https_only(url: str) -> None:
    with pytest.raises(ConfigError, match="is not https"):
        KeyUrl(url)


@pytest.mark.parametrize(
    "content",
    ["no json", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}', '{"keys": [7]}'],
)
async def test_a_file_of_keys_that_will_not_do_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"jwks.json .SENSORIUM_JWKS. (is no JWK set|holds no public key)"):
        async with serving(**jwt_fields(str(path))):
            pytest.fail("it started")


async def test_no_token_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither good nor bad ones, at any level; the tenant is."""
    with caplog.at_level(logging.DEBUG):
        async with serving(tokens=tokens(tmp_path)) as channel:
            await get(channel, f"Bearer {USER}")
            with contextlib.suppress(SensoriumError):
                await get(channel, "Bearer wrong-secret")
    said = " ".join(str(vars(record)) for record in caplog.records)
    assert USER not in said
    assert "wrong-secret" not in said
    assert "'tenant': 'acme'" in said


def test_the_token_of_ones_own_calls_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("own-token\n")
    assert peer_token(str(path))() == (("authorization", "Bearer own-token"),)
    assert tuple(peer_token("")()) == ()
    path.write_text("two\ntokens")
    with pytest.raises(ConfigError, match="is not one token on one line"):
        peer_token(str(path))
