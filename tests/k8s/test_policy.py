"""What every overlay keeps, whatever else it changes."""

import re

import pytest

from tests.k8s.manifests import (
    OVERLAYS,
    VERSION,
    Object,
    container,
    of_kind,
    only,
    overlay,
    pod,
    quantity,
    selects,
    settings,
)


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return overlay(request.param)


def test_pod_security_restricted(objects: list[Object]) -> None:
    """Kubernetes' own list, https://kubernetes.io/docs/concepts/security/pod-security-standards."""
    spec, main = pod(objects)["spec"], container(objects)
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    assert all("hostPort" not in port for port in main["ports"])
    assert {key for volume in spec.get("volumes", []) for key in volume} <= {
        "name", "configMap", "emptyDir", "secret", "projected",
    }  # fmt: skip
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert main["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_no_credentials_for_the_cluster(objects: list[Object]) -> None:
    account = only(objects, "ServiceAccount")
    spec = pod(objects)["spec"]
    assert spec["serviceAccountName"] == account["metadata"]["name"] != "default"
    assert account["automountServiceAccountToken"] is False
    assert spec["automountServiceAccountToken"] is False


def test_no_service_names_a_setting(objects: list[Object]) -> None:
    assert pod(objects)["spec"]["enableServiceLinks"] is False


def test_there_is_no_place_to_write(objects: list[Object]) -> None:
    assert "volumes" not in pod(objects)["spec"]
    assert "volumeMounts" not in container(objects)


def test_resources_are_asked_for_and_bounded(objects: list[Object]) -> None:
    resources = container(objects)["resources"]
    for name in ("cpu", "memory"):
        assert resources["requests"][name] == resources["limits"][name]
    # Without a limit the service would start a thread for every core of the node.
    assert quantity(resources["limits"]["cpu"]) >= 1
    storage = "ephemeral-storage"
    assert quantity(resources["requests"][storage]) <= quantity(resources["limits"][storage])


def test_the_image_is_this_version_and_not_the_latest(objects: list[Object]) -> None:
    variant = settings(objects)["LWBAFA_DEVICE"]
    assert container(objects)["image"] == f"lwbafa:{VERSION}-{variant}"


def test_probes_ask_what_they_are_for(objects: list[Object]) -> None:
    main = container(objects)
    probes = {name: main[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    paths = {name: probe["httpGet"]["path"] for name, probe in probes.items()}
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    assert {probe["httpGet"]["port"] for probe in probes.values()} == {"http"}
    startup = probes["startup"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 180
    assert all(probe["timeoutSeconds"] >= 3 for probe in probes.values())


def test_a_rollout_takes_no_pod_away_first(objects: list[Object]) -> None:
    spec = only(objects, "Deployment")["spec"]
    assert spec.get("strategy", {}).get("type", "RollingUpdate") == "RollingUpdate"
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert spec["strategy"]["rollingUpdate"]["maxSurge"] not in (0, "0%")
    assert container(objects)["lifecycle"]["preStop"].keys() == {"sleep"}


def test_pods_spread_without_stopping_a_rollout(objects: list[Object]) -> None:
    constraints = pod(objects)["spec"]["topologySpreadConstraints"]
    assert {c["topologyKey"] for c in constraints} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    for constraint in constraints:
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]
        assert selects(
            constraint["labelSelector"]["matchLabels"], pod(objects)["metadata"]["labels"]
        )


def test_everything_selects_the_pods(objects: list[Object]) -> None:
    labels = pod(objects)["metadata"]["labels"]
    assert selects(only(objects, "Service")["spec"]["selector"], labels)
    for kind, field in (
        ("Deployment", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        assert selects(only(objects, kind)["spec"][field]["matchLabels"], labels), kind


def test_a_disruption_takes_one_of_two_and_never_all(objects: list[Object]) -> None:
    spec = only(objects, "PodDisruptionBudget")["spec"]
    assert "minAvailable" not in spec
    assert re.fullmatch(r"[1-4]?\d%", spec["maxUnavailable"])


def test_nothing_leaves_but_names_to_look_up(objects: list[Object]) -> None:
    spec = only(objects, "NetworkPolicy")["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    (out,) = spec["egress"]
    assert {(port["protocol"], port["port"]) for port in out["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert all({"namespaceSelector", "podSelector"} == peer.keys() for peer in out["to"])
    (into,) = spec["ingress"]
    assert into["ports"] == [{"protocol": "TCP", "port": "http"}]


def test_the_port_has_one_name_from_the_process_to_the_service(objects: list[Object]) -> None:
    (port,) = container(objects)["ports"]
    assert port == {"name": "http", "containerPort": int(settings(objects)["LWBAFA_PORT"])}
    (service_port,) = only(objects, "Service")["spec"]["ports"]
    assert service_port["targetPort"] == "http"


def test_one_autoscaler_owns_the_replicas(objects: list[Object]) -> None:
    deployment = only(objects, "Deployment")
    assert "replicas" not in deployment["spec"]
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler") + of_kind(objects, "ScaledObject")
    spec = scaler["spec"]
    assert spec["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    least = spec.get("minReplicas", spec.get("minReplicaCount"))
    assert 2 <= least < spec.get("maxReplicas", spec.get("maxReplicaCount"))
    # All but a GPU's scale on CPU, for which the pods have to ask for some.
    on_cpu = "70" in str(spec.get("metrics", spec.get("triggers")))
    assert on_cpu == (settings(objects)["LWBAFA_DEVICE"] == "cpu")


def test_all_is_labelled_as_ours(objects: list[Object]) -> None:
    for item in objects:
        assert item["metadata"]["labels"]["app.kubernetes.io/name"] == "lwbafa", item["kind"]
