"""Traces: one call is one tree of spans over all processes that took part."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import services.orchestrator.app
import services.orchestrator.config
import services.text.app
import services.text.config
import services.vision.app
import services.vision.config
from sensorium.channel import open_channel
from sensorium.v1 import orchestrator_pb2_grpc
from sensorium.v1.orchestrator_pb2 import ClassifyRequest, DescribeRequest, Label
from shared.serving.logs import JsonFormatter
from tests.running import running, server_config
from tests.services.orchestrator.harness import image


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent, with the names of the services that sent them."""

    spans: list[tuple[str, Span]] = field(default_factory=list)

    def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:  # Any: as generated
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.spans += [(names["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    """A receiver of OTLP over gRPC, in threads: services that end wait for it in theirs."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # as generated
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What a service writes as its log."""
    stream, logger = io.StringIO(), logging.getLogger("sensorium.call")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("any"))
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


async def test_a_classify_is_one_tree_of_calls_and_stages_which_its_log_line_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded, png = cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))
    assert encoded
    request = ClassifyRequest(contents=[image(png.tobytes())], labels=[Label(name="night"), Label(name="day")])
    with collecting() as (collector, endpoint), logged() as log:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        async with (
            running(services.text.app.serving, services.text.config.Config) as (_, text),
            running(services.vision.app.serving, services.vision.config.Config) as (_, vision),
            services.orchestrator.app.serving(
                services.orchestrator.config.Config(
                    server=server_config(),
                    text_addr=f"127.0.0.1:{text.port}",
                    vision_addr=f"127.0.0.1:{vision.port}",
                )
            ) as orchestrator,
            open_channel(f"127.0.0.1:{orchestrator.port}") as channel,
        ):
            stub = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
            seen = await stub.Describe(DescribeRequest())
            while not (seen.spaces and len(seen.spaces[0].modalities) == 2):
                seen = await stub.Describe(DescribeRequest())
            await stub.Classify(request)

    spans = {(service, span.kind, span.name): span for service, span in collector.spans}
    orchestrator_name = "sensorium-orchestrator"
    root = spans[orchestrator_name, Span.SPAN_KIND_SERVER, "sensorium.v1.OrchestratorService/Classify"]
    for service, path in (("text", "TextEncoderService/EncodeText"), ("vision", "VisionEncoderService/EncodeImage")):
        name = f"sensorium.v1.{path}"
        asked = spans[orchestrator_name, Span.SPAN_KIND_CLIENT, name]
        answered = spans[f"sensorium-{service}", Span.SPAN_KIND_SERVER, name]
        assert parentage(asked) == (root.trace_id, root.span_id)
        assert parentage(answered) == (root.trace_id, asked.span_id)
        for stage in ("preprocess", "queue", "inference"):
            part = spans[f"sensorium-{service}", Span.SPAN_KIND_INTERNAL, stage]
            assert parentage(part) == (root.trace_id, answered.span_id)
            assert answered.start_time_unix_nano <= part.start_time_unix_nano <= part.end_time_unix_nano
            assert part.end_time_unix_nano <= answered.end_time_unix_nano
            assert facts(part)["sensorium.model"].string_value == f"tiny-{service}@1"
        assert facts(part)["sensorium.batch_size"].int_value > 0
    roots = {span.name for _, span in collector.spans if not span.parent_span_id}
    assert roots == {root.name}, "what looks at a server again and again begins no trace"
    (line,) = [line for line in map(json.loads, log.getvalue().splitlines()) if line.get("method") == f"/{root.name}"]
    assert (line["trace_id"], line["span_id"]) == (root.trace_id.hex(), root.span_id.hex())


def parentage(span: Span) -> tuple[bytes, bytes]:
    return span.trace_id, span.parent_span_id


def facts(span: Span) -> dict[str, Any]:  # Any: OpenTelemetry's value
    return {each.key: each.value for each in span.attributes}
