"""Every overlay builds, alone and together with the others, and what names what exists."""

import re
from pathlib import Path

import pytest

from tests.k8s.manifests import (
    K8S,
    OVERLAYS,
    VERSION,
    Object,
    build,
    container,
    of_kind,
    only,
    overlay,
    settings,
)

COMPONENTS = sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml"))


def combined(folder: Path, components: list[str]) -> list[Object]:
    """The base with several components, from a folder elsewhere, as a user's own would be."""
    folder.mkdir(exist_ok=True)
    lines = [
        "resources:",
        f"  - {relative(K8S / 'base', folder)}",
        "components:",
        *(f"  - {relative(K8S / 'components' / name, folder)}" for name in components),
    ]
    (folder / "kustomization.yaml").write_text("\n".join(lines) + "\n")
    return build(folder)


def relative(path: Path, folder: Path) -> str:
    """A path as seen from a folder, which kustomize wants."""
    return "../" * (len(folder.resolve().parts) - 1) + path.resolve().as_posix().removeprefix("/")


def test_there_is_an_overlay_for_every_component() -> None:
    assert sorted([*COMPONENTS, "cpu"]) == OVERLAYS


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_has_each_object_once(name: str) -> None:
    objects = overlay(name)
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(names) == len(set(names))
    assert only(objects, "Deployment")
    # Where it goes is for who applies it: a namespace that is ours could be deleted with ours.
    assert not of_kind(objects, "Namespace")
    assert all("namespace" not in item["metadata"] for item in objects)


@pytest.mark.parametrize("other", ["keda", "gpu"])
def test_all_components_go_together_in_any_order(tmp_path: Path, other: str) -> None:
    """But `keda` and `gpu`, which brings it along."""
    together = [name for name in COMPONENTS if name != other]
    objects = combined(tmp_path, together)
    kinds = {item["kind"] for name in COMPONENTS for item in overlay(name)}
    assert {item["kind"] for item in objects} == kinds - {"HorizontalPodAutoscaler"}
    assert ("nvidia.com/gpu" in container(objects)["resources"]["limits"]) == ("gpu" in together)
    assert combined(tmp_path, together[::-1]) == objects


def test_the_readmes_own_kustomization_builds(tmp_path: Path) -> None:
    text = (K8S / "README.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert "k8s/base" in example
    rooted = re.sub(r"\S*(k8s/\S+)", lambda m: relative(K8S.parent / m[1], tmp_path), example)
    (tmp_path / "kustomization.yaml").write_text(rooted)
    objects = build(tmp_path)
    assert container(objects)["image"] == f"registry.example.com/team/lwbafa:{VERSION}-cpu"
    mounts = {mount["mountPath"] for mount in container(objects)["volumeMounts"]}
    assert any(Path(settings(objects)["LWBAFA_API_KEYS_FILE"]).is_relative_to(m) for m in mounts)


@pytest.mark.parametrize("components", [[], ["gpu"]])
def test_an_image_can_be_pinned_by_digest(tmp_path: Path, components: list[str]) -> None:
    combined(tmp_path, components)
    digest = f"sha256:{'0' * 64}"
    with (tmp_path / "kustomization.yaml").open("a") as file:
        file.write(f"images: [{{name: lwbafa, newName: there/lwbafa, digest: '{digest}'}}]\n")
    assert container(build(tmp_path))["image"] == f"there/lwbafa@{digest}"


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_readme_names_every_overlay(name: str) -> None:
    assert f"| `{name}` |" in (K8S / "README.md").read_text()
