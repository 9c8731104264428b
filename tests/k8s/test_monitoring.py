"""The cluster watches what docker compose watches, and scales on metrics that exist."""

import json
import re

import pytest
import yaml

from app.metrics import Metrics
from k8s import prometheus_rule
from proof.harness import ROOT
from tests.k8s.manifests import Object, of_kind, only, overlay, selects

DASHBOARD = ROOT / "docker" / "grafana" / "dashboards" / "lwbafa.json"
# kubectl apply keeps a copy in an annotation, of which there may be 256 KiB.
MOST_BYTES = 200 * 1024


@pytest.fixture
def objects() -> list[Object]:
    return overlay("monitoring")


def test_the_rules_are_those_of_prometheus_itself(objects: list[Object]) -> None:
    rules = prometheus_rule.RULES.read_text()
    written = prometheus_rule.OBJECT.read_text()
    assert written == prometheus_rule.render(rules), "run python -m k8s.prometheus_rule"
    assert only(objects, "PrometheusRule")["spec"] == yaml.safe_load(rules)


def test_the_dashboard_is_that_of_grafana_itself(objects: list[Object]) -> None:
    (dashboard,) = [
        item
        for item in of_kind(objects, "ConfigMap")
        if item["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    assert dashboard["data"] == {DASHBOARD.name: DASHBOARD.read_text()}
    assert len(DASHBOARD.read_bytes()) < MOST_BYTES
    assert json.loads(DASHBOARD.read_text())["title"]


def test_prometheus_finds_the_service_and_calls_it_lwbafa(objects: list[Object]) -> None:
    monitor, service = only(objects, "ServiceMonitor"), only(objects, "Service")
    labels = service["metadata"]["labels"]
    assert selects(monitor["spec"]["selector"]["matchLabels"], labels)
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert labels[monitor["spec"]["jobLabel"]] == "lwbafa"


@pytest.mark.parametrize(
    ("name", "kinds"), [("keda", ["prometheus", "cpu"]), ("gpu", ["prometheus"] * 2)]
)
def test_keda_scales_on_metrics_of_the_service_in_its_own_namespace(
    name: str, kinds: list[str]
) -> None:
    """A GPU's pods on queue age, and not on their CPUs."""
    triggers = only(overlay(name), "ScaledObject")["spec"]["triggers"]
    assert [trigger["type"] for trigger in triggers] == kinds
    asked = [t["metadata"] for t in triggers if t["type"] == "prometheus"]
    for queue in ("queue", "preparation"):
        assert f"lwbafa_{queue}_oldest_seconds" in asked[0]["query"]
    samples = {s.name for family in Metrics().registry.collect() for s in family.samples}
    families = {family.name for family in Metrics().registry.collect()}
    for metadata in asked:
        named = set(re.findall(r"lwbafa_\w+", metadata["query"]))
        assert named
        assert all(n in samples or re.sub("_(sum|count|bucket)$", "", n) in families for n in named)
        own = metadata["query"].count('{job="lwbafa", namespace="lwbafa"}')
        assert own == metadata["query"].count("{") > 0
        # One number, whatever the replicas: KEDA takes the first of several.
        assert re.match(r"(avg|max|sum)\(", metadata["query"])
        # No pods of that name in Prometheus is an error, not a queue of age zero.
        assert metadata["ignoreNullValues"] == "false"
