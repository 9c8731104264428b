"""The service that an afternoon gives: FastAPI around the network as it was trained.

    LWBAFA_PORT=8001 python -m bench.naive

Every request decodes, detects, crops and runs its own forward pass in eager fp32, in a handler of
FastAPI's thread pool: no batches, no queue, no limits. It is what `bench.service` measures the
service against, and answers the same two requests of it: an upload, with or without `boxes`.
"""

import json
from typing import Annotated

import cv2
import numpy as np
import uvicorn
from fastapi import Body, FastAPI

from app.service import detector_options
from app.settings import Settings, read_settings
from bench.engine import Eager
from lwbafa.checkpoint import Checkpoint
from lwbafa.detection.choose import create_detector
from lwbafa.imaging.crop import Crop
from lwbafa.types import FaceBox


def create_app(settings: Settings) -> FastAPI:
    """The application, its network loaded."""
    app = FastAPI()
    checkpoint = Checkpoint.load(settings.checkpoint_dirs[0])
    manifest = checkpoint.manifest
    network = Eager(checkpoint, "cpu")
    detector = create_detector(detector_options(settings))

    @app.post("/v1/align")
    def align(
        upload: Annotated[bytes, Body()], boxes: str | None = None
    ) -> list[list[list[float]]]:
        """The points of every face."""
        image = cv2.imdecode(np.frombuffer(upload, np.uint8), cv2.IMREAD_COLOR_RGB)
        if boxes is None:
            found = [detection.box for detection in detector.detect(image)]  # type: ignore[arg-type]
        else:
            found = [FaceBox(*box) for box in json.loads(boxes)]
        crops = [Crop.around(box, manifest.box_convention.crop_scale) for box in found]
        if not crops:
            return []
        points = network.align([crop.cut(image, manifest.input.size_px) for crop in crops])  # type: ignore[arg-type]
        return [
            crop.to_image(of_face).tolist() for crop, of_face in zip(crops, points, strict=True)
        ]

    @app.get("/livez")
    @app.get("/readyz")
    async def alive() -> str:
        """The process runs; its network is loaded before it listens."""
        return "alive"

    return app


if __name__ == "__main__":
    settings = read_settings()
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, log_level="warning")
