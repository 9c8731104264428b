"""The image's and Compose's files keep what docs/operations.md says, without a Docker engine."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.settings import Settings
from proof.container.proxy import configuration
from proof.harness import ROOT

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
NGINX = (ROOT / "docker" / "nginx.conf").read_text()
LOCKS = ("requirements", "torch-cuda")


CUDA = re.compile("nvidia-|cuda-|triton")


def pins(name: str) -> dict[str, str]:
    """Package → version, without local suffixes, of a file in the docker folder."""
    text = (ROOT / "docker" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_everything_is_locked_by_hash_in_the_versions_that_are_tested(name: str) -> None:
    tested: dict[str, str] = {
        canonicalize_name(package): version
        for package, version in re.findall(
            r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE
        )
    }
    lock = (ROOT / "docker" / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=\S)", lock.strip())
    assert entries
    for entry in entries:
        assert re.fullmatch(r"[\w.-]+==[\w.+]+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry)
    locked = pins(name)
    assert {n: tested[n] for n in tested if n in locked} == {
        n: version for n, version in locked.items() if n in tested
    }


WITH_PYTORCH = {"torch", "safetensors"}
"""What PyTorch's engines need and OpenVINO's do not."""


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_lock_holds_what_an_image_needs_and_no_more(device: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = pins("requirements")
    without = WITH_PYTORCH
    if device == "cuda":
        # PyPI's PyTorch names CUDA libraries that the tested build does without.
        beyond = {n: v for n, v in pins("torch-cuda").items() if not CUDA.match(n)}
        locked, without = locked | beyond, set()
    needed: set[str] = {"setuptools"}  # builds the package
    direct = [Requirement(line) for line in project["dependencies"]]
    waiting = [r for r in direct if canonicalize_name(r.name) not in without]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(locked[name]), requirement
        needed.add(name)
        extras = requirement.extras or {""}
        for line in requires(name) or []:
            further = Requirement(line)
            wanted = not further.marker or any(
                further.marker.evaluate({"extra": extra}) for extra in extras
            )
            new = canonicalize_name(further.name) not in needed or further.extras
            if wanted and new and not CUDA.match(further.name):
                waiting.append(further)
    assert needed == set(locked)


def test_hadolint_finds_nothing_wrong() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "docker/Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_nobody_and_gets_its_signals() -> None:
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    (user,) = re.findall(r"^USER (\d+):(\d+)$", last_stage, re.MULTILINE)
    assert min(map(int, user)) >= 10001
    assert re.search(r'^CMD \["python", "-m", "app"\]$', last_stage, re.MULTILINE)
    assert re.search(r'^    CMD \["python", .*"docker/healthcheck.py"\]$', last_stage, re.MULTILINE)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'image.version="{version}"' in last_stage


def test_the_build_sees_only_what_it_copies() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in rules
    allowed = {rule[1:].split("/")[0] for rule in rules if rule.startswith("!")}
    code = {"lwbafa", "app", "model_store"}
    assert allowed == code | {"docker", "pyproject.toml", "README.md", "LICENSE"}
    # Else they would be there without their licences.
    assert {"model_store/centerface", "model_store/yunet"} <= set(rules)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["cpus"]
    assert service["mem_limit"]
    assert all("127.0.0.1:" in port for port in service["ports"])
    assert "healthcheck" in service or service["image"].startswith("lwbafa:")


@pytest.mark.parametrize("name", ["lwbafa", "lwbafa-gpu"])
def test_cpus_and_memory_are_those_that_are_documented(name: str) -> None:
    documented = (ROOT / "docs" / "operations.md").read_text()
    service = SERVICES[name]
    assert service["memswap_limit"] == service["mem_limit"]
    for key in ("cpus", "mem_limit"):
        variable, default = re.findall(r"\{(\w+):-(\w+)\}", service[key])[0]
        assert f"`{variable}={default}`" in documented


def test_a_stop_has_time_to_drain() -> None:
    settings = Settings()
    needed_s = (settings.drain_delay_ms + settings.request_deadline_ms) / 1000 + 8
    for name in ("lwbafa", "lwbafa-gpu"):
        assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) > needed_s


def test_the_gpu_is_for_those_who_ask_for_it() -> None:
    gpu = SERVICES["lwbafa-gpu"]
    assert gpu["profiles"] == ["gpu"]
    assert gpu["build"]["args"] == {"DEVICE": "cuda"}
    assert "lwbafa" in gpu["networks"]["default"]["aliases"]  # the name that Prometheus watches
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert "gpu" in device["capabilities"]


def test_what_is_mounted_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (
                (ROOT / source).exists()
                if source.startswith(".")
                else source in (COMPOSE["volumes"])
            )


def test_compose_understands_its_file() -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("no docker-compose")
    done = subprocess.run(
        [program, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_nginx_agrees_with_the_service() -> None:
    settings = Settings()
    value = dict(re.findall(r"^ +(\w+) (.*);$", NGINX, re.MULTILINE))
    limit = f"{settings.max_upload_bytes // 2**20 + 1}m"  # the form around the image, too
    assert value["client_max_body_size"] == value["client_body_buffer_size"] == limit
    assert value["proxy_next_upstream"] == "error timeout http_503 non_idempotent"
    assert value["proxy_max_temp_file_size"] == "0"
    assert 1000 * int(value["keepalive_timeout"].removesuffix("s")) < settings.keep_alive_ms
    assert 1000 * int(value["proxy_read_timeout"].removesuffix("s")) > settings.request_deadline_ms
    documented = (ROOT / "docs" / "operations.md").read_text()
    for name in (
        set(value)
        - {"server", "listen", "keepalive", "proxy_pass"}
        - {
            "proxy_http_version",
            "proxy_set_header",
        }
    ):
        assert f"| `{name} {value[name]}` |" in documented, name


def test_the_public_front_passes_requests_on_as_the_other_proxy_does() -> None:
    front = (ROOT / "docker" / "nginx-tls.conf").read_text()
    lines = {line for line in NGINX.splitlines() if line.strip() and not line.startswith("#")}
    assert lines - set(front.splitlines()) == {"    listen 80 backlog=2048;"}


def test_the_checks_proxy_is_the_documented_one() -> None:
    text = configuration([("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)], 4)
    assert re.findall(r"server (\S+) max_fails=0;", text) == [f"127.0.0.1:{n}" for n in (1, 2, 3)]
    assert "listen 127.0.0.1:4 " in text
