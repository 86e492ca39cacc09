"""Tenants get what their quotas say, each its own, and hear when to come back."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.message import Message

from sensorium import text
from sensorium.channel import call, open_channel
from sensorium.errors import Overloaded, Reason
from sensorium.status import from_rpc_error
from sensorium.v1 import audio_pb2, content_pb2, embedding_pb2, model_pb2, orchestrator_pb2, text_pb2, text_pb2_grpc
from sensorium.v1.orchestrator_pb2 import FuseItem, FusePart, Label
from shared.serving.config import ConfigError
from shared.serving.metrics import Metrics
from shared.serving.quotas import Quota, Quotas, item_count, read_quotas
from shared.serving.server import Running, listening
from shared.serving.tracing import Tracing
from tests.certificates import swap
from tests.running import metric, server_config
from tests.waiting import until

TENANTS = ("acme", "shop", "guest")  # each with its name as its token


class Servicer(text_pb2_grpc.TextEncoderServiceServicer):
    """Answers at once, or when `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def EncodeText(self, request: text_pb2.EncodeTextRequest, context: object) -> text_pb2.EncodeTextResponse:
        await self.go_on.wait()
        return text_pb2.EncodeTextResponse()

    async def EncodeTextStream(
        self, requests: AsyncIterator[text_pb2.EncodeTextStreamRequest], context: object
    ) -> AsyncIterator[text_pb2.EncodeTextStreamResponse]:
        async for request in requests:
            yield text_pb2.EncodeTextStreamResponse(id=request.id)


@contextlib.asynccontextmanager
async def serving(
    folder: Path, quotas: str, **fields: Any
) -> AsyncIterator[tuple[grpc.aio.Channel, Running, Servicer]]:
    tokens = folder / "tokens"
    tokens.write_text("".join(f"{name} user {hashlib.sha256(name.encode()).hexdigest()}\n" for name in TENANTS))
    (folder / "quotas.toml").write_text(quotas)
    servicer = Servicer()  # type: ignore[abstract]  # two rpcs are called

    def add(server: grpc.aio.Server) -> None:
        text_pb2_grpc.add_TextEncoderServiceServicer_to_server(servicer, server)

    config = server_config(tokens=str(tokens), quotas=str(folder / "quotas.toml"), **fields)
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            listening("t", config, ["sensorium.v1.TextEncoderService"], add, Metrics("t"), Tracing("t", {}))
        )
        yield await stack.enter_async_context(open_channel(f"127.0.0.1:{running.port}")), running, servicer


async def encode(channel: grpc.aio.Channel, tenant: str, count: int = 1) -> None:
    stub = text_pb2_grpc.TextEncoderServiceStub(channel)
    request = text_pb2.EncodeTextRequest(texts=["x"] * count)
    await call(stub.EncodeText, request, timeout_s=10, metadata=(("authorization", f"Bearer {tenant}"),))


def stream(channel: grpc.aio.Channel, tenant: str) -> Any:
    """Opens a stream. Any: grpc.aio's call objects are generic in its stub files only."""
    stub = text_pb2_grpc.TextEncoderServiceStub(channel)
    return stub.EncodeTextStream(timeout=10, metadata=(("authorization", f"Bearer {tenant}"),))


RATES = """
[default]
items_per_s = 100
burst_items = 10

[tenants.acme]
items_per_s = 50
burst_items = 20
"""


async def test_a_tenant_over_its_rate_is_told_when_to_come_back_and_others_are_not_touched(tmp_path: Path) -> None:
    async with serving(tmp_path, RATES) as (channel, running, _):
        await encode(channel, "acme", 20)
        with pytest.raises(Overloaded) as refused:
            await encode(channel, "acme", 15)
        error = refused.value
        assert error.reason is Reason.QUOTA_EXCEEDED
        assert error.metadata == {"tenant": "acme", "limit": "items_per_s", "value": "50"}
        assert error.retry_after_s is not None
        assert 0.1 < error.retry_after_s <= 15 / 50
        await encode(channel, "shop", 10)
        await asyncio.sleep(error.retry_after_s)  # the wait that is under test
        await encode(channel, "acme", 15)
        assert metric(running, 'sensorium_tenant_items_total{tenant="acme"}') == 35
        assert metric(running, 'sensorium_tenant_refusals_total{limit="items_per_s",tenant="acme"}') == 1


async def test_a_call_larger_than_the_bucket_goes_when_it_is_full_and_leaves_a_debt(tmp_path: Path) -> None:
    async with serving(tmp_path, RATES) as (channel, _, _):
        await encode(channel, "guest", 40)
        with pytest.raises(Overloaded) as refused:
            await encode(channel, "guest")
        assert refused.value.retry_after_s is not None
        assert 0.2 < refused.value.retry_after_s <= 0.32


async def test_a_tenant_has_only_so_many_calls_running(tmp_path: Path) -> None:
    async with serving(tmp_path, "[default]\ncalls = 2\n") as (channel, running, servicer):
        servicer.go_on.clear()
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(encode(channel, "acme"))
            await until(lambda: metric(running, "sensorium_tenant_running{") == 2)
            with pytest.raises(Overloaded) as refused:
                await encode(channel, "acme")
            assert refused.value.metadata == {"tenant": "acme", "limit": "calls", "value": "2"}
            assert refused.value.retry_after_s
            group.create_task(encode(channel, "shop"))
            servicer.go_on.set()
        await encode(channel, "acme")
        assert metric(running, "sensorium_tenant_running{") == 0


async def test_a_stream_is_slowed_down_and_counted(tmp_path: Path) -> None:
    quotas = "[default]\nitems_per_s = 50\nburst_items = 5\nstreams = 1\n"
    async with serving(tmp_path, quotas) as (channel, _, _):
        started = time.monotonic()
        open_one = stream(channel, "acme")
        for number in range(20):
            await open_one.write(text_pb2.EncodeTextStreamRequest(id=str(number)))
            await open_one.read()
        assert 0.25 < time.monotonic() - started < 2, "15 of 20 at 50 a second"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream(channel, "acme").read()
        error = from_rpc_error(refused.value)
        assert error.metadata == {"tenant": "acme", "limit": "streams", "value": "1"}
        await open_one.done_writing()


async def test_a_server_has_only_so_many_streams_open(tmp_path: Path) -> None:
    async with serving(tmp_path, "[default]\n", max_streams=2) as (channel, _, _):
        held = [stream(channel, "acme") for _ in range(2)]
        for each in held:
            await each.write(text_pb2.EncodeTextStreamRequest(id="a"))
            await each.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream(channel, "shop").read()
        assert isinstance(from_rpc_error(refused.value), Overloaded)
        await held[0].done_writing()
        await held[0].code()
        again = stream(channel, "shop")
        await again.write(text_pb2.EncodeTextStreamRequest(id="b"))
        assert (await again.read()).id == "b"
        for each in (held[1], again):
            await each.done_writing()


async def test_a_server_has_only_so_many_connections(tmp_path: Path) -> None:
    def connected(stack: contextlib.ExitStack) -> bool:
        """Whether the server says anything, as HTTP/2 has it, before it hangs up."""
        one = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=5))
        with contextlib.suppress(ConnectionResetError):
            return bool(one.recv(100))
        return False

    async with serving(tmp_path, "[default]\n", max_connections=2) as (_, running, _):
        with contextlib.ExitStack() as rest:
            with contextlib.ExitStack() as first:
                assert [await asyncio.to_thread(connected, each) for each in (first, rest, rest)] == [True, True, False]
            await until(lambda: connected(rest))


async def test_metrics_name_the_tenants_of_the_file_alone(tmp_path: Path) -> None:
    async with serving(tmp_path, RATES) as (channel, running, _):
        for tenant in TENANTS:
            await encode(channel, tenant, 3)
        assert metric(running, 'sensorium_tenant_items_total{tenant="acme"}') == 3
        assert metric(running, 'sensorium_tenant_items_total{tenant="other"}') == 6
        assert metric(running, 'sensorium_tenant_items_total{tenant="shop"}') == 0


async def test_a_changed_file_counts_and_a_bad_one_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "quotas"
    path.write_text("[default]\ncalls = 1\n")
    quotas = Quotas(str(path), Metrics("t"))

    def fits(count: int) -> bool:
        quotas._file._looked = 0.0  # as if a second had passed
        with contextlib.ExitStack() as stack:
            try:
                for _ in range(count):
                    stack.enter_context(quotas.running("acme", "calls"))
            except Overloaded:
                return False
        return True

    assert fits(1)
    assert not fits(2)
    swap(path, b"[default]\ncalls = 1\n[tenants.acme]\ncalls = 3\n")
    assert fits(3)
    swap(path, b"[default]\ncalls = -1\n")
    assert fits(3)
    assert not fits(4)
    assert "default.calls is -1; give a number above 0" in caplog.text


def test_a_bucket_that_nobody_takes_from_holds_its_burst_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "quotas"
    path.write_text("[default]\nitems_per_s = 1\nburst_items = 5\n")
    quotas = Quotas(str(path), Metrics("t"))
    quotas.charge("acme", 1)
    quotas._uses["acme"].filled -= 1000  # as if that were long ago
    quotas.charge("acme", 5)
    with pytest.raises(Overloaded):
        quotas.charge("acme", 1)


def test_quotas_are_toml_or_json_and_tenants_take_what_they_do_not_say_from_the_default(tmp_path: Path) -> None:
    path = tmp_path / "quotas"
    path.write_text("[default]\nitems_per_s = 2\ncalls = 8\n[tenants.acme]\nitems_per_s = 30\n")
    told = read_quotas(str(path))
    inf = float("inf")
    assert told.default == Quota(2, 20, 8, inf)
    assert told.of("acme") == Quota(30, 300, 8, inf)
    path.write_text('{"default": {"items_per_s": 2, "calls": 8}, "tenants": {"acme": {"items_per_s": 30}}}')
    assert read_quotas(str(path)) == told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[default", "Expected"),
        ("{", "Expecting property name"),
        ("[defaults]\n", "'defaults' is neither default nor tenants"),
        ("tenants = 3", "tenants is not a table"),
        ("[tenants]\nacme = 3", "tenants.acme is not a table of items_per_s"),
        ("[default]\nspeed = 3", "default.speed is none of items_per_s, burst_items, calls, streams"),
        ("[default]\ncalls = 0", "default.calls is 0; give a number above 0"),
        ("[default]\ncalls = true", "default.calls is True"),
        ("[default]\nitems_per_s = nan", "default.items_per_s is nan"),
    ],
)
def test_a_file_of_quotas_that_will_not_do_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "quotas"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"quotas \(SENSORIUM_QUOTAS\): .*" + said):
        read_quotas(str(path))


FEW, SHOWN, TAG = (
    Label(name="a"),
    Label(name="b", examples=[text("x")] * 3),
    Label(name="c", is_tag=True, examples=[text("x")] * 2),
)


@pytest.mark.parametrize(
    ("request_", "count"),
    [
        (text_pb2.EncodeTextRequest(texts=["a", "b", "c"]), 3),
        (audio_pb2.EncodeAudioRequest(), 1),
        (orchestrator_pb2.EmbedRequest(contents=[text("a")] * 4), 4),
        (orchestrator_pb2.CompareRequest(queries=[text("a")] * 2, candidates=[text("b")] * 5), 7),
        (orchestrator_pb2.ClassifyRequest(contents=[text("a")] * 2, labels=[FEW, SHOWN, TAG]), 2 + 1 + 4 + 2),
        (
            orchestrator_pb2.ClassifyRequest(contents=[text("a")], labels=[FEW, SHOWN], templates=["{}", "a {}"]),
            1 + 2 + 2 + 3,
        ),
        (
            orchestrator_pb2.FuseRequest(items=[FuseItem(parts=[FusePart(content=text("a"))] * 3), FuseItem()]),
            3 + 1,
        ),
        (orchestrator_pb2.EmbedWindowsRequest(audios=[content_pb2.Audio()] * 3, window_ms=100), 3),
        (
            orchestrator_pb2.OrchestratorServicePredictRequest(
                items=[FuseItem(parts=[FusePart(content=text("a"))] * 2), FuseItem()]
            ),
            2 + 1,
        ),
        (
            orchestrator_pb2.OrchestratorServiceProjectRequest(embeddings=[embedding_pb2.Embedding(values=[1, 2])] * 3),
            3,
        ),
        (orchestrator_pb2.OrchestratorServiceTokenizeRequest(texts=["a", "b"], prompt_name="query"), 2),
        (orchestrator_pb2.DescribeRequest(), 1),
        (model_pb2.ListModelsRequest(page_token="x"), 1),  # no secret
    ],
)
def test_what_a_call_brings_is_counted(request_: Message, count: int) -> None:
    assert item_count(request_) == count
