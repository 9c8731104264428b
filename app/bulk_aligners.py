"""Who aligns the pictures of `lwbafa align`: the library in this process, or a running service."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import click
import numpy as np

from lwbafa.aligner import FaceAligner
from lwbafa.bulk.rows import Align, Answer
from lwbafa.detection.choose import DetectorOptions
from lwbafa.errors import DeviceLost, LoadError, NoAnswer, ServiceError, StopRun
from lwbafa.face import draw_faces
from lwbafa.imaging.draw import png
from lwbafa.imaging.photograph import Photograph
from lwbafa.markups import MARKUPS
from lwbafa.types import Pixels

if TYPE_CHECKING:
    from lwbafa.client import Client
    from lwbafa.detection.search import FaceSearch

TIMEOUT_S = 120.0
"""For one picture: a bulk run waits rather than leaves one out."""

NOT_OF_THE_PICTURE = (401, 403, 404, 429, 503)
"""Statuses that any other picture would meet as well."""


class Aligner(NamedTuple):
    """Who aligns, and what the run's part file remembers of it; to be closed."""

    align: Align
    close: Callable[[], None]
    model: str
    version: str
    markup: str


def in_process(model: str, detector: str, max_faces: int, detection_px: int | None) -> Aligner:
    """The library, in this process. Raises click.UsageError for what cannot be loaded."""
    try:
        library = FaceAligner.load(model, detector=DetectorOptions(detector))
    except LoadError as error:
        raise click.UsageError(str(error)) from error
    refuse_too_fine(library.detector, detection_px)

    def align(image: bytes | Pixels) -> Answer:
        try:
            photograph = Photograph.open(image)
            faces = library.align(photograph, max_faces=max_faces, detection_px=detection_px)
        except DeviceLost as error:
            raise StopRun(str(error)) from error
        return Answer(
            *photograph.upright_size,
            [face.as_dict() for face in faces],
            lambda: png(draw_faces(photograph, faces)),
        )

    manifest = library.checkpoint.manifest
    return Aligner(align, lambda: None, manifest.name, manifest.version, manifest.markup)


def by_service(
    url: str, key: str | None, model: str | None, max_faces: int, detection_px: int | None
) -> Aligner:
    """A running service. Raises click.UsageError for one that does not answer or has no `model`."""
    try:
        from lwbafa.client import Client
    except ModuleNotFoundError as error:
        raise click.UsageError("--url needs httpx: pip install 'lwbafa[client]'") from error
    try:
        client = Client(url, key, TIMEOUT_S)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        models = {there.name: there for there in client.models()}
    except (NoAnswer, ServiceError, ValueError) as error:
        client.close()
        raise click.UsageError(f"{url}: {error}") from error
    name = model or next(iter(models))
    if name not in models or models[name].markup not in MARKUPS:
        client.close()
        known = ", ".join(model for model in models if models[model].markup in MARKUPS)
        raise click.UsageError(f"{url} has no model {name} that is known here but: {known}")

    if detection_px is not None:
        # Any picture would be refused for one that is too fine, and a run of refusals is no result.
        try:
            client.answer(np.zeros((64, 64, 3), np.uint8), model=name, detection_px=detection_px)
        except (NoAnswer, ServiceError) as error:
            client.close()
            raise click.UsageError(f"{url}: {error}") from error

    def align(image: bytes | Pixels) -> Answer:
        with _stopping(client, url):
            answer = client.answer(
                image, model=name, max_faces=max_faces, detection_px=detection_px
            )

        def draw() -> bytes:
            with _stopping(client, url):
                return client.draw(image, [face.box for face in answer.faces] or None, name)

        faces = [face.as_dict() for face in answer.faces]
        return Answer(answer.width, answer.height, faces, draw)

    return Aligner(align, client.close, name, models[name].version, models[name].markup)


def refuse_too_fine(detector: "FaceSearch", detection_px: int | None) -> None:
    """Raise UsageError for a `--detection-px` that the detector does not take."""
    if detection_px is not None and detection_px > detector.finest_px:
        raise click.UsageError(f"--detection-px is at most {detector.finest_px}")


@contextmanager
def _stopping(client: "Client", url: str) -> Iterator[None]:
    """Make what any other picture would meet as well a StopRun."""
    try:
        yield
    except ServiceError as error:
        if error.status in NOT_OF_THE_PICTURE:
            raise StopRun(f"{url}: {error}") from error
        if error.status >= 500:  # such as a proxy's 502, whose service is gone
            _stop_unless_alive(client, url)
        raise
    except NoAnswer:
        _stop_unless_alive(client, url)
        raise


def _stop_unless_alive(client: "Client", url: str) -> None:
    """A picture that gets no answer is at fault only if the service still answers others."""
    try:
        client.models()
    except (NoAnswer, ServiceError) as error:
        raise StopRun(f"{url}: {error}") from error
