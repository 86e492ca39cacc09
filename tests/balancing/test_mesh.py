"""The orchestrator over three text services with the shipped model: what its clients notice when some of them go."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc

import sensorium
from sensorium.channel import open_channel
from sensorium.cli.processes import GRPC_SERVICES, ServiceProcess
from services.orchestrator.app import serving
from services.orchestrator.config import Config
from tests.balancing.callers import until
from tests.balancing.replicas import naming
from tests.running import metric_at, server_config

HOSTS = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
START_S = 30.0


async def until_serving(host: str, service: ServiceProcess) -> None:
    """Waits until a service answers on its own address of this machine."""
    await until(lambda: bool(service.port), START_S)
    async with asyncio.timeout(START_S), open_channel(f"{host}:{service.port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # not in its stub file
        request = health_pb2.HealthCheckRequest(service=GRPC_SERVICES["text"])
        while (await check(request, wait_for_ready=True)).status != health_pb2.HealthCheckResponse.SERVING:
            continue


@asynccontextmanager
async def texts(folder: Path) -> AsyncIterator[dict[str, ServiceProcess]]:
    """Text services on all hosts, on one port; those that are left are killed at the end."""
    running: dict[str, ServiceProcess] = {}
    port = 0
    try:
        for host in HOSTS:
            running[host] = ServiceProcess("text", (host, port, 0), {}, folder / f"{host}.log")
            if not port:
                await until_serving(host, running[host])
                port = running[host].port
        for host, service in running.items():
            await until_serving(host, service)
        yield running
    finally:
        for service in running.values():
            service.process.kill()
            service.wait(10)


async def test_no_client_hears_of_a_text_service_that_is_killed_or_of_one_that_is_terminated(tmp_path: Path) -> None:
    async with texts(tmp_path) as running:
        with naming(HOSTS, running[HOSTS[0]].port) as (_, target):
            config = Config(server=server_config(), text_addr=target)
            async with serving(config) as orchestrator:
                clients = [sensorium.AsyncClient(f"127.0.0.1:{orchestrator.port}") for _ in range(3)]
                while not (await clients[0].describe()).spaces:
                    continue
                await embedding_while_two_go(clients, running)
                tried = metric_at(orchestrator.metrics_port, 'sensorium_peer_calls_total{outcome="failed",peer="text"}')
                assert tried == 0
                for client in clients:
                    await client.close()


async def embedding_while_two_go(clients: list[sensorium.AsyncClient], running: dict[str, ServiceProcess]) -> None:
    """Embeds new sentences all the time while one service is killed and another one told to end."""
    numbers, is_over = itertools.count(), asyncio.Event()
    answers: list[sensorium.Embeddings] = []

    async def embed(client: sensorium.AsyncClient) -> None:
        while not is_over.is_set():
            number = next(numbers)
            answer = await client.embed([sensorium.text(f"sentence {number}"), sensorium.text(f"and {number}")])
            answer.raise_for_errors()
            answers.append(answer)

    async def more(count: int) -> None:
        wanted = len(answers) + count
        await until(lambda: len(answers) >= wanted, 20)

    async with asyncio.TaskGroup() as group:
        for client in clients * 3:
            group.create_task(embed(client))
        await more(100)
        running[HOSTS[1]].process.kill()
        await more(300)
        running[HOSTS[2]].terminate()
        await asyncio.to_thread(running[HOSTS[2]].wait, 30)
        await more(100)
        is_over.set()
    assert running[HOSTS[2]].process.returncode == 0
