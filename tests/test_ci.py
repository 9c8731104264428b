"""The hosted CI runs what everybody runs."""

import tomllib

import yaml

from proof.harness import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())


def test_the_hosted_ci_runs_the_projects_own_on_the_oldest_python() -> None:
    (job,) = WORKFLOW["jobs"].values()
    assert job["steps"][-1]["run"] == "bash .ci/run"
    assert (ROOT / ".ci" / "run").exists()
    python = next(s["with"]["python-version"] for s in job["steps"] if "with" in s)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={python}"


def test_the_hosted_ci_may_only_read() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
