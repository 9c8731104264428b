"""Every object is what the Kubernetes API, or its custom resource's definition, says it may be."""

import json
from copy import deepcopy
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from tests.k8s.manifests import OVERLAYS, Object, only, overlay

CRDS = {
    path.stem: json.loads(path.read_text()) for path in Path(__file__).parent.glob("crds/*.json")
}
# From the oldest that knows all we use (`lifecycle.preStop.sleep` by default) to the newest known.
VERSIONS = ("1.30", kubernetes_validate.latest_version())


def check(item: Object, version: str) -> None:
    """Raise jsonschema.ValidationError for an object that a cluster would not take."""
    if schema := CRDS.get(item["kind"]):
        jsonschema.validate(item, schema, jsonschema.Draft202012Validator)
    else:
        kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_keeps_to_its_schema(name: str, version: str) -> None:
    for item in overlay(name):
        check(item, version)


@pytest.mark.parametrize("name", CRDS)
def test_every_definition_is_a_schema_and_in_use(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(CRDS[name])
    assert any(item["kind"] == name for overlay_name in OVERLAYS for item in overlay(overlay_name))


@pytest.mark.parametrize("kind", ["Deployment", *CRDS])
def test_an_unknown_field_would_be_found(kind: str) -> None:
    objects = next(found for name in OVERLAYS for found in [overlay(name)] if _has(found, kind))
    item = deepcopy(only(objects, kind))
    check(item, VERSIONS[-1])
    item["spec"]["mistyped"] = "x"
    with pytest.raises(jsonschema.ValidationError, match="mistyped"):
        check(item, VERSIONS[-1])


def _has(objects: list[Object], kind: str) -> bool:
    return any(item["kind"] == kind for item in objects)
