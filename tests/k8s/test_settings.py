"""The manifests' settings are the service's own, and the manifests' times fit them."""

import re

import pytest

from app.server.lifecycle import LAST_WORDS_S
from app.server.start import SENDING_S
from app.service import LAST_BATCH_S
from app.settings import Settings, read_settings
from tests.k8s.manifests import OVERLAYS, Object, container, only, overlay, pod, settings

TICKS_S = 1
"""Until the server notices that all is done, and that all is sent."""


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return overlay(request.param)


def read(objects: list[Object], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the service reads in the pod; raises as its start would."""
    for name, value in settings(objects).items():
        monkeypatch.setenv(name, value)
    return read_settings()


def test_the_service_takes_them(objects: list[Object], monkeypatch: pytest.MonkeyPatch) -> None:
    taken = read(objects, monkeypatch)
    assert settings(objects)
    assert all(name.startswith("LWBAFA_") for name in settings(objects))
    assert (taken.host, taken.port) == ("0.0.0.0", 8000)  # noqa: S104 - the pod's own address


def test_the_gpu_has_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = overlay("gpu")
    assert read(objects, monkeypatch).device == "cuda"
    for side in ("requests", "limits"):
        assert container(objects)["resources"][side]["nvidia.com/gpu"] == 1
    spec = pod(objects)["spec"]
    assert spec["nodeSelector"]
    assert [toleration["key"] for toleration in spec["tolerations"]] == ["nvidia.com/gpu"]


def test_a_pod_may_answer_all_it_has_taken_before_it_is_killed(
    objects: list[Object], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = read(objects, monkeypatch)
    sleep_s = container(objects)["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed_s = (
        sleep_s
        + (taken.drain_delay_ms + taken.request_deadline_ms) / 1000
        + SENDING_S
        + LAST_BATCH_S
        + TICKS_S
    )
    grace_s = pod(objects)["spec"]["terminationGracePeriodSeconds"]
    assert needed_s < grace_s
    # Still serving, a pod has to be out of every proxy's list: it answers no new caller later.
    probe = container(objects)["readinessProbe"]
    assert probe["periodSeconds"] <= sleep_s + taken.drain_delay_ms / 1000


def test_liveness_leaves_time_for_the_watchdogs_last_words(objects: list[Object]) -> None:
    probe = container(objects)["livenessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > LAST_WORDS_S


def test_ingress_lets_through_what_the_service_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = overlay("ingress")
    taken = read(objects, monkeypatch)
    annotations = only(objects, "Ingress")["metadata"]["annotations"]
    sizes = {k: v for k, v in annotations.items() if re.search("(body|buffer)-size$", k)}
    assert len(sizes) == 4  # body and buffer, for both nginx controllers
    for name, size in sizes.items():
        assert int(size.removesuffix("m")) * 2**20 > taken.max_upload_bytes, name
    # Else nginx would write drawn photographs to disk.
    files = [v for k, v in annotations.items() if k.endswith("max-temp-file-size")]
    assert files == ["0", "0"]
    timeouts = {k: v for k, v in annotations.items() if "timeout" in k and "upstream" not in k}
    assert len(timeouts) == 3
    for name, seconds in timeouts.items():
        assert int(seconds.removesuffix("s")) > taken.request_deadline_ms / 1000, name
    # nginx has the whole body before it asks; HAProxy passes it on as it comes.
    assert _seconds(timeouts["haproxy.org/timeout-server"]) > _longest_exchange_s(taken)
    assert only(objects, "Ingress")["spec"]["tls"]


def test_a_gateway_waits_as_long_as_the_service_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = overlay("gateway")
    taken = read(objects, monkeypatch)
    (rule,) = only(objects, "HTTPRoute")["spec"]["rules"]
    for name in ("request", "backendRequest"):
        assert _seconds(rule["timeouts"][name]) > _longest_exchange_s(taken)


@pytest.mark.parametrize(("name", "kind"), [("ingress", "Ingress"), ("gateway", "HTTPRoute")])
def test_only_the_api_is_reached_from_outside(name: str, kind: str) -> None:
    text = str(only(overlay(name), kind)["spec"]["rules"])
    assert re.findall(r"'(?:path|value)': '(/[^']*)'", text) == ["/v1"]
    assert "'lwbafa'" in text  # the Service


def _longest_exchange_s(taken: Settings) -> float:
    """From the first byte of an upload to the last of its answer."""
    return (2 * taken.upload_timeout_ms + taken.request_deadline_ms) / 1000


def _seconds(text: str) -> int:
    return int(text.removesuffix("s"))
