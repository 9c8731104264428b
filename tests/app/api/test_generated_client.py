"""A client that is generated from the document works against the service."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

Import = Callable[[str], Any]


@pytest.fixture(scope="module")
def generated(client: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Import]:
    """Imports a module of the generated package by its name."""
    folder: Path = tmp_path_factory.mktemp("generated")
    (folder / "config.yml").write_text("post_hooks: []\n")
    (folder / "openapi.json").write_bytes(client.get("/openapi.json").content)
    command = "-m openapi_python_client generate --path openapi.json --config config.yml"
    done = subprocess.run(
        [sys.executable, *command.split(), "--meta", "none", "--output-path", "face_client"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # It has no words for bodies of an image type; a form and plain bytes are there for it.
    warnings = [line for line in done.stdout.splitlines() if line.startswith("Unsupported")]
    assert all(line.startswith("Unsupported content type image/") for line in warnings), done.stdout
    assert done.stdout.count("WARNING") == len(warnings), done.stdout
    sys.path.insert(0, str(folder))
    yield lambda name: importlib.import_module(f"face_client.{name}")
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def caller(generated: Import, client: httpx.Client) -> Iterator[Any]:
    client_of = generated("client").Client
    with client_of(str(client.base_url), raise_on_unexpected_status=True) as caller:
        yield caller


def image(generated: Import, content: bytes) -> Any:
    return generated("types").File(BytesIO(content))


def test_it_asks_every_operation(generated: Import, caller: Any) -> None:
    (model,) = generated("api.default.list_models").sync(client=caller).models
    assert model.landmark_count == 68
    assert generated("api.default.readyz").sync(client=caller).ready
    for name in ("livez", "metrics"):
        answer = generated(f"api.default.{name}").sync_detailed(client=caller)
        assert answer.status_code == 200


def test_it_aligns_a_form_and_plain_bytes(
    generated: Import, caller: Any, astronaut_jpeg: bytes
) -> None:
    align = generated("api.default.align").sync
    form = generated("models").AlignFilesBody(image=image(generated, astronaut_jpeg))
    boxed = generated("models").AlignFilesBody(
        image=image(generated, astronaut_jpeg), boxes="[[180,90,90,88]]"
    )
    answers = [
        align(client=caller, body=form, x_deadline_ms=9000, max_faces=4),
        align(client=caller, body=boxed, frame=generated("models").Frame.STORED),
        align(client=caller, body=image(generated, astronaut_jpeg)),
    ]
    assert [len(answer.faces[0].landmarks) for answer in answers] == [68, 68, 68]
    assert [answer.found_faces for answer in answers] == [1, None, 1]


def test_it_reads_problems(generated: Import, caller: Any) -> None:
    align = generated("api.default.align").sync
    problem = align(client=caller, body=image(generated, b"GIF89a"))
    assert (problem.status, problem.code) == (415, "unsupported_media_type")
