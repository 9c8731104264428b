"""What the code offers and what the documents say are the same thing."""

import re
from pathlib import Path

import pytest
from fastapi import FastAPI

from app import errors
from app.api.app import create_app
from app.service import Service
from app.settings import Settings
from proof.harness import ROOT

README = (ROOT / "README.md").read_text()
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "k8s" / "README.md"]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Service(Settings()))


def test_every_setting_has_its_row_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        (row,) = [r for r in REFERENCE.splitlines() if r.startswith(f"| `LWBAFA_{name.upper()}` |")]
        values = field.default if isinstance(field.default, tuple) else (field.default,)
        shown = ",".join("" if value is None else _short(value) for value in values)
        assert (f"| `{shown}` |" if shown else "| |") in row, row


def _short(value: object) -> str:
    """A default as the reference shows it: paths from the repository on, switches as set."""
    if isinstance(value, bool):
        return str(value).lower()
    inside = isinstance(value, Path) and value.is_relative_to(ROOT)
    return value.relative_to(ROOT).as_posix() if inside else str(value)  # type: ignore[attr-defined]


def test_no_setting_is_documented_that_does_not_exist() -> None:
    text = "".join(path.read_text() for path in DOCUMENTS)
    named = set(re.findall(r"LWBAFA_[A-Z_]+[A-Z]", text))
    assert named == {f"LWBAFA_{name.upper()}" for name in Settings.model_fields}


def section(title: str) -> list[list[str]]:
    """The rows of a section's table in the reference, without its head; names without backticks."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    rows = [row.strip("| ").split(" | ") for row in text.splitlines() if row.startswith("| `")]
    return [[row[0].strip("`"), *row[1:]] for row in rows]


def test_every_error_has_its_row_with_its_status_and_every_row_its_error() -> None:
    documented = {code: int(status) for code, status, *_ in section("Errors")}
    assert documented == {error.code: error.status for error in errors.request_errors()}


def test_error_codes_are_unique() -> None:
    codes = [error.code for error in errors.request_errors()]
    assert len(codes) == len(set(codes))


def test_every_metric_has_its_row_and_every_row_its_metric(app: FastAPI) -> None:
    registry = app.state.service.metrics.registry
    documented = [name for name, *_ in section("Metrics")]
    assert sorted(documented) == sorted(family.name for family in registry.collect())


def test_every_endpoint_is_documented(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    assert paths
    for path, operations in paths.items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in README


def test_every_parameter_of_the_alignment_is_documented(app: FastAPI) -> None:
    api = (ROOT / "docs" / "api.md").read_text()
    for parameter in app.openapi()["paths"]["/v1/align"]["post"]["parameters"]:
        assert f"`{parameter['name']}`" in api


def test_every_link_inside_the_repository_leads_somewhere() -> None:
    for document in [*DOCUMENTS, *ROOT.glob("model_store/*/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document}: {target}"


def test_every_top_level_folder_is_in_the_layout() -> None:
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    for name in folders:
        assert re.search(rf"^    {name}/ ", README, re.MULTILINE), name
