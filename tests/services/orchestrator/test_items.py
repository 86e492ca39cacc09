"""What fails inside of calls that are OK is seen: in the metrics, in the log, by the alerts."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from sensorium.errors import DeadlineExceeded, InvalidInput, Overloaded
from sensorium.v1.orchestrator_pb2 import EmbedRequest
from shared.serving.items import CallItems
from shared.serving.metrics import Metrics, Typical
from tests.running import metric_at
from tests.services.orchestrator.fakes import started, text_peer, vision_peer
from tests.services.orchestrator.harness import image, orchestrating, refused, text


async def test_items_that_a_dead_service_fails_inside_of_an_ok_answer_are_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "sensorium.call")
    peers = text_peer(), vision_peer()
    async with started(*peers), orchestrating(*peers) as mesh:
        await peers[1].stop()
        await mesh.stub.Embed(EmbedRequest(contents=[text("a"), image(b"b"), image(b"c"), text("")]))
        await refused(mesh.stub.Embed(EmbedRequest(contents=[text("a")] * 3, space="none@1")))
        port = mesh.metrics_port
        assert metric_at(port, 'sensorium_item_errors_total{code="UNAVAILABLE",fault="service",service="vision"}') == 2
        lost = 'sensorium_item_errors_total{code="NOT_FOUND",fault="caller",service="orchestrator"}'
        assert metric_at(port, lost) == 3, "a call that fails takes its items with it"
        calls: list[dict[str, Any]] = [record.f for record in caplog.records if hasattr(record, "f")]
        (embed,) = [each for each in calls if each["method"].endswith("/Embed") and each["code"] == "OK"]
        assert embed["items_failed"] == 2


def test_a_deadline_shorter_than_half_of_such_calls_take_does_not_burn_the_budget() -> None:
    typical = Typical()
    for hundredths in range(40):
        typical.took(hundredths / 100)

    def faults(given_s: float) -> set[str]:
        metrics = Metrics("text")
        items = CallItems(metrics, typical, given_s)
        items.came(2)
        items.failed(InvalidInput("is wrong"))
        items.ended(DeadlineExceeded("the time is over"), 1.0)
        return {sample.labels["fault"] for family in metrics.item_errors.collect() for sample in family.samples}

    assert faults(given_s=0.1) == {"caller"}
    assert faults(given_s=0.3) == {"caller", "service"}


def test_refusals_for_want_of_room_are_neither_the_callers_fault_nor_the_services() -> None:
    metrics = Metrics("text")
    CallItems(metrics, Typical(), 1.0).ended(Overloaded("full", retry_after_s=1.0), 0.1)
    assert metrics.item_errors.labels("text", "RESOURCE_EXHAUSTED", "load")._value.get() == 1
    assert metrics.call_items._value.get() == 1
