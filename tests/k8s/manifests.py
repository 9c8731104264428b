"""The manifests as a cluster would get them: built by kubectl or kustomize, read as objects."""

import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from proof.harness import ROOT

K8S = ROOT / "k8s"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
OVERLAYS = sorted(path.parent.name for path in K8S.glob("overlays/*/kustomization.yaml"))

Object = dict[str, Any]


def build(folder: Path) -> list[Object]:
    """All objects of one kustomization. Skips the test where there is nothing to build with."""
    if kubectl := shutil.which("kubectl"):
        command = [kubectl, "kustomize"]
    elif kustomize := shutil.which("kustomize"):
        command = [kustomize, "build"]
    else:
        pytest.skip("neither kubectl nor kustomize is installed")
    built = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert not built.stderr, built.stderr  # kustomize warns of what it will no longer take
    return [item for item in yaml.safe_load_all(built.stdout) if item]


@cache
def overlay(name: str) -> list[Object]:
    """All objects of one overlay."""
    return build(K8S / "overlays" / name)


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Those of one kind."""
    return [item for item in objects if item["kind"] == kind]


def only(objects: list[Object], kind: str) -> Object:
    """The one object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def pod(objects: list[Object]) -> Object:
    """The Deployment's pod, as a template."""
    template: Object = only(objects, "Deployment")["spec"]["template"]
    return template


def container(objects: list[Object]) -> Object:
    """The pod's only container."""
    (found,) = pod(objects)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def settings(objects: list[Object]) -> dict[str, str]:
    """The environment that the container starts with."""
    maps = {item["metadata"]["name"]: item["data"] for item in of_kind(objects, "ConfigMap")}
    environment: dict[str, str] = {}
    for source in container(objects).get("envFrom", []):
        environment |= maps[source["configMapRef"]["name"]]
    for variable in container(objects).get("env", []):
        environment[variable["name"]] = variable["value"]
    return environment


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether labels match a selector, which no empty one does here."""
    return bool(selector) and selector.items() <= labels.items()


def quantity(text: str | int) -> float:
    """A Kubernetes quantity of CPUs or bytes as a number."""
    ((number, unit),) = re.findall(r"^([\d.]+)(|m|Mi|Gi)$", str(text))
    return float(number) * {"": 1, "m": 1e-3, "Mi": 2**20, "Gi": 2**30}[unit]
