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
import torch
import uvicorn
from fastapi import Body, FastAPI

from app.settings import Settings, read_settings
from lwbafa.checkpoint import INPUT_PX, load_checkpoint
from lwbafa.detection.centerface import CenterFace
from lwbafa.imaging.crop import Crop
from lwbafa.network import normalise
from lwbafa.types import FaceBox


def create_app(settings: Settings) -> FastAPI:
    """The application, its network loaded."""
    app = FastAPI()
    network = load_checkpoint(settings.checkpoint_dir).load_network()
    detector = CenterFace.of_settings(settings)

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
        crops = [Crop.around(box) for box in found]
        if not crops:
            return []
        pixels = np.stack([crop.cut(image, INPUT_PX) for crop in crops])  # type: ignore[arg-type]
        with torch.inference_mode():
            points = network(normalise(torch.from_numpy(pixels)).contiguous()).points.numpy()
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
