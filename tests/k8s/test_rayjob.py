"""The example of a RayJob holds pods that Kubernetes takes and a command that there is."""

import shlex
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from app.cli import main
from proof.harness import ROOT
from tests.k8s.test_schemas import VERSIONS

JOB: dict[str, Any] = yaml.safe_load((ROOT / "k8s" / "rayjob.yaml").read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_pod_keeps_to_its_schema(version: str) -> None:
    for group in GROUPS:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **group["template"]}
        kubernetes_validate.validate(pod, version, strict=True)


def test_the_entrypoint_is_a_call_of_the_command() -> None:
    program, command, *arguments = shlex.split(JOB["spec"]["entrypoint"])
    assert (program, command) == ("lwbafa", "bulk")
    with click.Context(main.commands["bulk"]) as context:
        main.commands["bulk"].parse_args(context, arguments)
    parameters = context.params
    assert parameters["address"] == "auto"
    # The most actors are what the pods have CPUs for.
    (workers,) = CLUSTER["workerGroupSpecs"]
    (container,) = workers["template"]["spec"]["containers"]
    cpus = int(container["resources"]["limits"]["cpu"]) * workers["maxReplicas"]
    assert parameters["actors"] == (1, cpus // parameters["cpus_per_actor"])


def test_all_pods_run_one_image_and_none_aligns_beside_the_driver() -> None:
    images = {
        container["image"]
        for group in GROUPS
        for container in group["template"]["spec"]["containers"]
    }
    assert len(images) == 1
    assert CLUSTER["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
