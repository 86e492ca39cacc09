"""What every server does around its servicers: health, drain, errors, deadlines, ids, sizes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sensorium.channel import call, open_channel
from sensorium.errors import DeadlineExceeded, InternalError, InvalidInput, NotFound, Overloaded, Unavailable
from sensorium.v1 import model_pb2, model_pb2_grpc
from shared.serving import health
from shared.serving.call import Call, current_call
from shared.serving.gate import Gate
from shared.serving.inflight import InflightBytes
from shared.serving.logs import JsonFormatter
from shared.serving.metrics import Metrics
from shared.serving.server import Running, listening
from shared.serving.tracing import Tracing
from tests.running import metric, server_config

SERVICE = "sensorium.v1.ModelService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Servicer(model_pb2_grpc.ModelServiceServicer):
    """Answers GetModel with whatever a test wants."""

    def __init__(self, answer: Callable[[str], Any]) -> None:
        self._answer = answer

    async def GetModel(self, request: model_pb2.GetModelRequest, context: object) -> model_pb2.GetModelResponse:
        return model_pb2.GetModelResponse(model=model_pb2.Model(name=await self._answer(request.model)))


@contextlib.asynccontextmanager
async def serving(
    answer: Callable[[str], Any], gate: Gate | None = None, **fields: Any
) -> AsyncIterator[tuple[grpc.aio.Channel, Running]]:
    def add(server: grpc.aio.Server) -> None:
        model_pb2_grpc.add_ModelServiceServicer_to_server(Servicer(answer), server)  # type: ignore[abstract]  # see there

    config = server_config(**fields)
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            listening("test", config, [SERVICE], add, Metrics("test"), Tracing("test", {}), gate)
        )
        channel = open_channel(f"127.0.0.1:{running.port}")
        stack.push_async_callback(channel.close)
        yield channel, running


def get(channel: grpc.aio.Channel, model: str = "", **options: Any) -> Any:
    stub = model_pb2_grpc.ModelServiceStub(channel)
    return call(stub.GetModel, model_pb2.GetModelRequest(model=model), **{"timeout_s": 10, **options})


def stub_call(channel: grpc.aio.Channel, model: str) -> Any:
    return model_pb2_grpc.ModelServiceStub(channel).GetModel(model_pb2.GetModelRequest(model=model), timeout=10)


def _refused(running: Running) -> float:
    method = "/sensorium.v1.ModelService/GetModel"
    return metric(running, f'sensorium_requests_total{{code="RESOURCE_EXHAUSTED",method="{method}"}}')


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def echo(model: str) -> str:
    return model


async def test_watchers_hear_of_every_change_of_health() -> None:
    async with serving(echo) as (channel, running):
        stub: Any = health_pb2_grpc.HealthStub(channel)  # Any: its methods are not typed
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=10)
        assert (await watch.read()).status == NOT_SERVING
        await running.health.set_serving(True)
        assert (await watch.read()).status == SERVING
        await running.health.set_serving(False)
        assert (await watch.read()).status == NOT_SERVING
        process = await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert process.status == SERVING, "the process lives, whatever its services do"


async def test_http_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port}{path}", timeout=5) as page:
                return int(page.status)
        except urllib.error.HTTPError as refusal:
            return refusal.code

    async with serving(echo) as (_, running):
        assert [await asyncio.to_thread(fetch, path) for path in ("/healthz", "/readyz", "/x")] == [200, 503, 404]
        await running.health.set_serving(True)
        assert await asyncio.to_thread(fetch, "/readyz") == 200
        monkeypatch.setattr(health, "_BEAT_S", 0.01)
        assert fetch("/healthz") == 503, "the event loop waits here, and answers no call"


async def test_a_drain_reports_not_serving_finishes_what_runs_and_refuses_what_comes() -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(model: str) -> str:
        entered.set()
        await go_on.wait()
        return "done"

    stack = contextlib.AsyncExitStack()
    _, running = await stack.enter_async_context(serving(slow))
    client = open_channel(f"127.0.0.1:{running.port}")
    await running.health.set_serving(True)
    health: Any = health_pb2_grpc.HealthStub(client)  # Any: its methods are not typed
    watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=20)
    assert (await watch.read()).status == SERVING
    accepted = asyncio.create_task(get(client))
    await entered.wait()
    leaving = asyncio.create_task(stack.aclose())
    assert (await watch.read()).status == NOT_SERVING
    assert not leaving.done(), "it waits for the call that runs"
    go_on.set()
    assert (await accepted).model.name == "done"
    await leaving
    with pytest.raises(Unavailable):
        await get(client)
    await client.close()


async def test_a_bug_of_ours_shows_a_reference_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(model: str) -> str:
        raise ValueError("the secret path /etc/x")

    async with serving(broken) as (channel, _):
        with caplog.at_level(logging.ERROR), pytest.raises(InternalError) as refusal:
            await get(channel)
        assert "secret" not in str(refusal.value)
        assert "secret" not in json.dumps(refusal.value.metadata)
        logged = [record for record in caplog.records if record.exc_info]
        assert logged[0].f["reference"] == refusal.value.metadata["reference"]  # type: ignore[attr-defined]  # our extra


async def test_every_call_has_a_deadline_and_an_id_that_comes_back() -> None:
    seen: list[float] = []

    async def look(model: str) -> str:
        seen.append(current_call().remaining_s())
        return current_call().request_id

    async with serving(look, default_deadline_s=7.0) as (channel, _):
        stub = model_pb2_grpc.ModelServiceStub(channel)
        made = stub.GetModel(model_pb2.GetModelRequest())
        assert (await made).model.name == dict(await made.trailing_metadata())["x-request-id"]
        given = stub.GetModel(model_pb2.GetModelRequest(), metadata=(("x-request-id", "mine-1"),), timeout=3)
        assert (await given).model.name == "mine-1"
        assert dict(await given.trailing_metadata())["x-request-id"] == "mine-1"
        assert 6 < seen[0] <= 7
        assert 2 < seen[1] < 4  # the two ends of the wire read two clocks


async def test_a_call_without_a_deadline_ends_at_the_default_one() -> None:
    async def hang(model: str) -> str:
        await asyncio.Event().wait()
        return ""

    async with serving(hang, default_deadline_s=0.1) as (channel, running):
        with pytest.raises(DeadlineExceeded):
            await get(channel, timeout_s=None)
        method = "/sensorium.v1.ModelService/GetModel"
        line = f'sensorium_requests_total{{code="DEADLINE_EXCEEDED",method="{method}"}}'
        assert await asyncio.to_thread(metric, running, line) == 1


async def test_a_caller_who_hangs_up_cancels_the_work() -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(model: str) -> str:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return ""

    async with serving(wait) as (channel, _):
        task = asyncio.create_task(get(channel))
        await entered.wait()
        task.cancel()
        await cancelled.wait()


async def test_what_is_no_message_is_refused_not_a_bug() -> None:
    async with serving(echo) as (channel, _):
        raw: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/sensorium.v1.ModelService/GetModel")
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await raw(b"\xff\xff\xff", timeout=10)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_priority_is_refused() -> None:
    async with serving(echo) as (channel, _):
        with pytest.raises(InvalidInput, match="x-priority: is 'urgent'; give interactive or batch"):
            await get(channel, metadata=(("x-priority", "urgent"),))


async def test_a_taken_port_is_an_error() -> None:
    async with serving(echo) as (_, running):
        with pytest.raises(OSError, match="is the port taken"):
            async with serving(echo, port=running.port):
                pass


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
async def test_ipv6_addresses_serve_calls_and_metrics() -> None:
    async with serving(echo, host="[::1]") as (_, running):
        channel = open_channel(f"[::1]:{running.port}")
        assert (await get(channel, "six")).model.name == "six"
        await channel.close()
        url = f"http://[::1]:{running.metrics_port}/healthz"
        with await asyncio.to_thread(urllib.request.urlopen, url, timeout=5) as page:
            assert page.status == 200


async def test_nobody_is_there() -> None:
    async with serving(echo) as (_, running):
        port = running.port
    channel = open_channel(f"127.0.0.1:{port}")
    with pytest.raises(Unavailable):
        await get(channel)
    await channel.close()


async def test_reflection_lists_the_services_and_can_be_switched_off() -> None:
    async def names(channel: grpc.aio.Channel) -> list[str]:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]  # Any: no async stub is typed
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        async for response in stub.ServerReflectionInfo(iter([request]), timeout=10):
            return [service.name for service in response.list_services_response.service]
        return []

    async with serving(echo) as (channel, _):
        assert {SERVICE, "grpc.health.v1.Health"} < set(await names(channel))
    async with serving(echo, reflection=False) as (channel, _):
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await names(channel)
        assert refusal.value.code() is grpc.StatusCode.UNIMPLEMENTED


class Door:
    """A gate that a test opens and shuts; it is crowded, so every call is asked before it is read."""

    is_crowded = True

    def __init__(self, *, is_shut: bool = False, open_bytes: int = -1) -> None:
        self.is_shut = is_shut
        self.open_bytes = open_bytes
        self.asked = 0

    def guards(self, method: str) -> bool:
        return method.endswith("/GetModel")

    def check(self, call: Call) -> None:
        self.asked += 1
        assert call.remaining_s() > 0
        if self.is_shut:
            raise Overloaded("the queue is full; try again in 2.00 s", retry_after_s=2.0)


async def test_while_it_is_crowded_calls_are_refused_before_they_are_read() -> None:
    door = Door(is_shut=True)
    async with serving(echo, door, max_message_bytes=1024) as (channel, running):
        with pytest.raises(Overloaded, match="the queue is full") as caught:
            await get(channel, "x" * 2000)  # too large, which nobody looks at
        assert caught.value.retry_after_s == 2.0
        door.is_shut = False
        with pytest.raises(InvalidInput, match="over the limit of 1024"):
            await get(channel, "x" * 2000)
        assert (await get(channel, "b")).model.name == "b"
        pending = stub_call(channel, "c")
        assert dict(await pending.initial_metadata()) == {}
        assert (await pending).model.name == "c"
        assert "x-request-id" in dict(await pending.trailing_metadata())
        assert door.asked == 4
        assert _refused(running) == 1


async def test_small_calls_come_in_however_crowded_it_is_since_a_cache_may_have_their_answers() -> None:
    door = Door(is_shut=True, open_bytes=100)
    async with serving(echo, door) as (channel, _):
        await get(channel, "the first call")
        assert (await get(channel, "small")).model.name == "small"
        with pytest.raises(Overloaded):
            await get(channel, "x" * 200)
        assert door.asked == 1


async def test_refusals_for_want_of_room_fill_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(echo, Door(is_shut=True)) as (channel, _):
        caplog.set_level(logging.INFO, logger="sensorium.call")
        for _ in range(20):
            with pytest.raises(Overloaded):
                await get(channel, "b")
    lines = [record for record in caplog.records if record.message == "call"]
    assert 1 <= len(lines) < 20
    assert [line.f["code"] for line in lines] == ["RESOURCE_EXHAUSTED"] * len(lines)  # type: ignore[attr-defined]  # f is extra


async def test_requests_that_are_answered_at_once_have_a_bound_in_bytes_together() -> None:
    entered, done = asyncio.Event(), asyncio.Event()

    async def slow(model: str) -> str:
        entered.set()
        await done.wait()
        return model[:1]

    async with serving(slow, max_inflight_bytes=10_000) as (channel, _):
        first = asyncio.ensure_future(get(channel, "a" * 9_000))
        await entered.wait()
        with pytest.raises(Overloaded, match="over the limit of 10000") as caught:
            await get(channel, "b" * 2_000)
        assert caught.value.retry_after_s is not None
        second = asyncio.ensure_future(get(channel, "c" * 500))
        done.set()
        assert [(await each).model.name for each in (first, second)] == ["a", "c"]
        assert (await get(channel, "d" * 20_000)).model.name == "d", "one alone always comes in"


async def test_memory_is_asked_back_after_a_peak_and_not_for_small_requests() -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    inflight = InflightBytes(1 << 30, lambda: loop.call_soon_threadsafe(asked.set))
    with inflight.holding(1 << 20):
        pass
    assert inflight._trimming is None
    with inflight.holding(64 << 20), inflight.holding(64 << 20):
        pass
    async with asyncio.timeout(5):
        await asked.wait()
    assert inflight.count == 0


_LONG = (
    "x" * 1_000_000,
    {"a": ["y" * 1_000_000] * 1000},
    {str(at): at for at in range(10_000)},
    [[["y" * 1000] * 50] * 50] * 50,
)


@pytest.mark.parametrize("value", _LONG, ids=["a text", "a list", "an object", "lists in lists"])
def test_no_line_of_the_log_is_as_long_as_a_caller_likes(value: object) -> None:
    record = logging.LogRecord("any", logging.INFO, "", 0, "m" * 1_000_000, None, None)
    record.f = {"field": value}
    line = JsonFormatter("text").format(record)
    assert len(line) < 60_000
    assert json.loads(line)["message"].endswith("(999500 characters more)")


@pytest.mark.parametrize("letter", ["x", "é", "\N{GRINNING FACE}", "\n"])
async def test_an_error_that_carries_much_of_what_a_caller_wrote_reaches_him_as_what_it_is(letter: str) -> None:
    async def answer(model: str) -> str:
        facts = {f"fact {at}": model for at in range(20)}
        raise NotFound(f"there is no model `{model}`; there are: a, b", field=f"models[{model}]", metadata=facts)

    async with serving(answer) as (channel, _):
        with pytest.raises(NotFound, match=r"(?s)^models\[.*there is no model .* … .*; there are: a, b$"):
            await get(channel, letter * 300_000)
