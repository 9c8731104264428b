"""Alerts and dashboard ask for what the service measures, and a real Prometheus can answer them."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import generate_latest

from app.service import Service
from app.settings import Settings
from proof.harness import ROOT
from proof.harness.server import free_port
from tests.conftest import running_server

PROMETHEUS = ROOT / "docker" / "prometheus"
GRAFANA = ROOT / "docker" / "grafana"
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((GRAFANA / "dashboards" / "lwbafa.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in PANELS
        for target in panel["targets"]
    },
    **{f"annotation {note['name']}": note["expr"] for note in DASHBOARD["annotations"]["list"]},
    **{rule["alert"]: rule["expr"] for rule in RULES},
}
QUIET = {
    "annotation Starts",
    "annotation Alerts",
    "Requests by API key A",
    "Refused, by code A",
    *(rule["alert"] for rule in RULES),
}
"""What has nothing to show of a healthy service that has time, without API keys."""

METRIC = re.compile(r"\b(?:lwbafa|process)_[a-z0-9_]+")
SCRAPE_S = 1
PATIENCE_S = 60

needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="no Prometheus: apt install prometheus"
)
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="no promtool: apt install prometheus"
)


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """The names of all time series of a service, with the suffixes that Prometheus sees."""
    metrics = Service(Settings()).metrics
    metrics.observe_stages("lwbafa-300w68", {"total": 1.0})
    metrics.requests.labels("/v1/align", "POST", "200").observe(1)
    metrics.errors.labels("not_found").inc()
    metrics.key_requests.labels("web").inc()
    text = generate_latest(metrics.registry).decode()
    return set(re.findall(r"^(\w+)[{ ]", text, re.MULTILINE))


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_query_asks_for_metrics_that_there_are(name: str, exposed: set[str]) -> None:
    asked = set(METRIC.findall(EXPRESSIONS[name]))
    assert asked - exposed == set()
    assert asked or name in ("LwbafaDown", "annotation Alerts")


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    runbook = (ROOT / "docs" / "operations.md").read_text()
    sections = re.findall(r"^### (Lwbafa\w+)\n\n\*(\w+)\.\*", runbook, re.MULTILINE)
    assert sections == [(rule["alert"], rule["labels"]["severity"].title()) for rule in RULES]


def test_every_alert_leads_to_its_section() -> None:
    runbook = (ROOT / "docs" / "operations.md").read_text()
    # As GitHub and its like make anchors of headings.
    headings = re.findall(r"^#+ (.+)$", runbook, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for rule in RULES:
        document, anchor = rule["annotations"]["runbook_url"].split("#")
        assert (document, anchor) == ("docs/operations.md", rule["alert"].lower())
        assert anchor in anchors


def test_no_rule_adds_up_over_environments() -> None:
    """Two in one Prometheus must not mix: what is added up keeps its namespace."""
    for rule in RULES:
        added_up = re.findall(
            r"\b(?:sum|count|avg|min|max)\b\s*(by|without)? ?\(([^)]*)", rule["expr"]
        )
        for how, labels in added_up:
            assert (how == "by") == ("namespace" in labels), rule["alert"]
            assert how, rule["alert"]
        if "rate(" in rule["expr"] and rule["labels"]["severity"] == "page":
            assert "> 0.2) >" in " ".join(rule["expr"].split()), rule["alert"]


def test_every_query_of_the_dashboard_selects_by_namespace() -> None:
    for name, expression in EXPRESSIONS.items():
        if name.startswith("Lwbafa"):
            continue
        for selector in re.findall(r"\{([^}]*)\}", expression):
            assert 'namespace=~"$namespace"' in selector, name


def test_failures_are_the_same_on_the_dashboard_and_in_the_page() -> None:
    """A caller's own deadline is in neither."""
    for name in ("Failing (500, 504) A", "LwbafaErrors"):
        assert re.search(r'- \(sum.*code="caller_deadline_exceeded"', EXPRESSIONS[name]), name


def test_every_metric_is_looked_at(exposed: set[str]) -> None:
    asked = set(METRIC.findall(json.dumps(DASHBOARD))) | set(METRIC.findall(str(RULES)))
    families = {re.sub(r"_(total|bucket|sum|count|info|created)$", "", name) for name in exposed}
    unseen = {family for family in families if not any(n.startswith(family) for n in asked)}
    assert unseen == {"process_virtual_memory_bytes"}


def test_the_dashboard_fits_its_data_source_and_its_grid() -> None:
    (source,) = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["current"]["value"] == source["uid"]
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(PANELS)))
    assert used == set(variables)
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        own = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not own & cells, panel["title"]
        assert max(x for x, _ in own) < 24
        cells |= own
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@needs_promtool
def test_promtool_finds_nothing_wrong() -> None:
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run(
            ["promtool", *command],  # noqa: S607
            cwd=PROMETHEUS,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, astronaut_jpeg: bytes
) -> Iterator[httpx.Client]:
    """A real Prometheus with our rules that has watched a real service align photographs."""
    folder = tmp_path_factory.mktemp("prometheus")
    with running_server() as url, watching(folder, url) as http:
        # Between two looks of Prometheus's nothing would have happened.
        for _ in range(4):
            assert httpx.post(f"{url}/v1/align", files={"image": astronaut_jpeg}).is_success
            httpx.post(f"{url}/v1/align", files={"image": b"no image"})
            time.sleep(2 * SCRAPE_S)
        yield http


@contextmanager
def watching(folder: Path, url: str) -> Iterator[httpx.Client]:
    """Run Prometheus as `docker/prometheus` configures it, but for where and how often to look."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"}
    (job,) = config["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [url.removeprefix("http://")]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(PROMETHEUS / "alerts.yml", folder)
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (
        subprocess.Popen(command) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http,
    ):
        try:
            wait_for_samples(http)
            yield http
        finally:
            process.terminate()


def wait_for_samples(http: httpx.Client) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        with suppress(httpx.TransportError, KeyError, ValueError):  # while it starts, no JSON
            if answer(http, "lwbafa_ready == 1"):
                return
        time.sleep(0.2)
    raise TimeoutError("Prometheus has not seen the service")


def answer(http: httpx.Client, expression: str) -> Any:
    return http.get("/api/v1/query", params={"query": expression}).json()["data"]["result"]


@needs_prometheus
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_query_is_answered(name: str, prometheus: httpx.Client) -> None:
    expression = EXPRESSIONS[name]
    for variable, value in {
        "$__rate_interval": "1m",
        "$namespace": ".*",
        "$instance": ".*",
        "$stage": "total",
    }.items():
        expression = expression.replace(variable, value)
    result = answer(prometheus, expression)
    assert result or name in QUIET


@needs_prometheus
def test_a_healthy_service_raises_no_alert(prometheus: httpx.Client) -> None:
    loaded = prometheus.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
    assert {rule["name"] for rule in loaded} == {rule["alert"] for rule in RULES}
    assert {rule["health"] for rule in loaded} == {"ok"}
    assert answer(prometheus, 'ALERTS{alertstate="firing"}') == []
