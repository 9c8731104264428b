"""The example of a RayJob is one, holds pods that Kubernetes takes and a command that there is."""

import json
import shlex
from copy import deepcopy
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml

from app.cli import main
from proof.harness import ROOT
from tests.k8s.test_schemas import VERSIONS

JOB: dict[str, Any] = yaml.safe_load((ROOT / "k8s" / "rayjob.yaml").read_text())
SCHEMA = json.loads((Path(__file__).parent / "RayJob.json").read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]


def check(job: dict[str, Any]) -> None:
    """Raise jsonschema.ValidationError for a job that KubeRay would not take; its pods aside."""
    jsonschema.validate(job, SCHEMA, jsonschema.Draft202012Validator)


def test_the_job_keeps_to_its_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    check(JOB)


@pytest.mark.parametrize(
    "place",
    [["spec"], ["spec", "rayClusterSpec"], ["spec", "rayClusterSpec", "workerGroupSpecs", 0]],
)
def test_an_unknown_field_would_be_found(place: list[Any]) -> None:
    job = deepcopy(JOB)
    within: Any = job
    for step in place:
        within = within[step]
    within["mistyped"] = "x"
    with pytest.raises(jsonschema.ValidationError, match="mistyped"):
        check(job)


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
