"""Rules and dashboard speak of metrics that a real server has, and the alerts do what they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from k8s.monitoring.generate import made
from sensorium.channel import call
from sensorium.v1 import text_pb2_grpc
from sensorium.v1.text_pb2 import EncodeTextRequest
from services.text.app import serving
from services.text.config import Config
from shared.serving.metrics import Metrics
from tests.k8s.rendering import K8S, SERVICES, documents
from tests.running import running

_FOLDER = K8S / "monitoring"
(_RULES,) = documents(_FOLDER / "rules.yml")
_ALERTS = [rule for group in _RULES["groups"] for rule in group["rules"] if "alert" in rule]
_RECORDED = {rule["record"] for group in _RULES["groups"] for rule in group["rules"] if "record" in rule}
_ADAPTER = documents(_FOLDER / "adapter.yaml")[0]["rules"]["custom"]
_TARGET_LABELS = {"namespace", "job", "pod", "instance", "__name__"}  # which Prometheus adds


def test_derived_files_are_current() -> None:
    """Else run `python -m k8s.monitoring.generate`."""
    for path, text in made().items():
        assert path.read_text() == text, path.name
    (rule,) = documents(_FOLDER / "prometheusrule.yaml")
    assert rule["spec"] == _RULES


def test_compose_brings_grafana_with_the_dashboard_and_its_source() -> None:
    root = K8S.parent
    services = documents(root / "compose.yaml")[0]["services"]
    mounts = dict(each.removesuffix(":ro").split(":") for each in services["grafana"]["volumes"])
    assert all((root / source).is_file() for source in mounts)
    inside = {target: root / source for source, target in mounts.items()}
    (provider,) = documents(inside["/etc/grafana/provisioning/dashboards/sensorium.yml"])[0]["providers"]
    assert inside[f"{provider['options']['path']}/dashboard.json"] == _FOLDER / "dashboard.json"
    (source,) = documents(inside["/etc/grafana/provisioning/datasources/sensorium.yml"])[0]["datasources"]
    assert source["type"] == json.loads((_FOLDER / "dashboard.json").read_text())["templating"]["list"][0]["query"]
    assert source["url"] == "http://prometheus:9090"
    assert services["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    assert services["grafana"]["ports"] == ["127.0.0.1:3000:3000"]


def test_the_dashboard_lays_every_panel_beside_the_others() -> None:
    page = json.loads((_FOLDER / "dashboard.json").read_text())
    cells: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        place = panel["gridPos"]
        mine = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
        assert not mine & cells, panel["title"]
        assert max(x for x, _ in mine) < 24
        cells |= mine
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])


async def test_every_metric_and_label_is_one_of_a_real_server() -> None:
    async with running(serving, Config) as (channel, service):
        stub = text_pb2_grpc.TextEncoderServiceStub(channel)
        await call(stub.EncodeText, EncodeTextRequest(texts=["a dog", ""]), timeout_s=10)
        families = list(text_string_to_metric_families(_page(service.metrics_port)))
    known = {sample.name for family in families for sample in family.samples}
    known |= {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    labels = {"le", *_TARGET_LABELS}.union(
        *(getattr(each, "_labelnames", ()) for each in vars(Metrics("any")).values())
    )
    for query in _queries():
        names, used = _names(query)
        assert names - known - _RECORDED - {"up"} == set(), query
        assert used - labels == set(), query


def _page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
        text: bytes = page.read()
    return text.decode()


def _queries() -> Iterable[str]:
    yield from (rule["expr"] for group in _RULES["groups"] for rule in group["rules"])
    yield from (rule["seriesQuery"] for rule in _ADAPTER)
    yield from _shown()


def _shown() -> Iterable[str]:
    for panel in json.loads((_FOLDER / "dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def _names(query: str) -> tuple[set[str], set[str]]:
    """Returns the metrics and the labels that a query names."""
    bare = re.sub(r'"[^"]*"', '""', query)
    used = set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"\"", bare))
    for listed in re.findall(r"\b(?:by|on) \(([^)]*)\)", bare):
        used |= {label.strip() for label in listed.split(",")}
    without_labels = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on) \([^)]*\)", " ", bare)
    return set(re.findall(r"\b(?:sensorium_\w+|process_\w+|\w+:\w+:\w+|up)\b", without_labels)), used


@pytest.mark.parametrize("alert", _ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_happened_and_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}


@pytest.mark.parametrize("alert", _ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_has_a_runbook_that_exists(alert: dict[str, Any]) -> None:
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^## (\w+)$", (K8S.parent / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}


def test_each_alert_is_shown_to_fire_and_to_keep_quiet() -> None:
    (page,) = documents(_FOLDER / "rules_test.yml")
    for alert in _ALERTS:
        name = f'alertname="{alert["alert"]}"'
        fires = [[name in str(each["exp_samples"]) for each in test["promql_expr_test"]] for test in page["tests"]]
        assert any(True in test and False in test for test in fires), f"{alert['alert']} has no test of both"


@pytest.mark.parametrize("arguments", [("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    _promtool(*arguments)


def test_every_query_of_the_dashboard_is_one(tmp_path: Path) -> None:
    queries = [
        query.replace("$__rate_interval", "1m").replace("$namespace", ".*").replace("$job", ".*") for query in _shown()
    ]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    _promtool("check", "rules", str(file))


def _promtool(*arguments: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing; install it (Debian: apt install prometheus)")
    run = subprocess.run([promtool, *arguments], cwd=_FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_adapter_offers_what_the_autoscalers_ask_for() -> None:
    asked = set(re.findall(r"\bsensorium_\w+", (K8S / "base" / "service" / "autoscaler.yaml").read_text()))
    asked |= set(re.findall(r"\bsensorium_\w+", (K8S / "base" / "orchestrator" / "kustomization.yaml").read_text()))
    assert {rule["name"]["as"] for rule in _ADAPTER} == asked
    series = {re.sub(r'.*__name__="([^"]+)".*|\{.*', r"\1", rule["seriesQuery"]) for rule in _ADAPTER}
    assert series == {"instance_model:sensorium_queue:seconds", "sensorium_requests_in_flight"}
    assert "instance_model:sensorium_queue:seconds" in _RECORDED


def test_prometheus_finds_every_service() -> None:
    (scrape,) = documents(_FOLDER / "prometheus.yml")[0]["scrape_configs"]
    (names,) = scrape["dns_sd_configs"]
    assert sorted(names["names"]) == sorted(SERVICES)
    assert names["port"] == Config().server.metrics_port
