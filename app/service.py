"""Everything one process holds: the checkpoint, the detector, the batcher, the workers."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import cv2
import numpy as np

from app.batching import Batcher
from app.batching.batcher import retry_after
from app.checkpoints import load_checkpoint
from app.detection.centerface import CenterFace
from app.engine import Alignment, Engine
from app.engine.torch_engine import TorchEngine, choose_device
from app.errors import NotReady, QueueFull
from app.imaging.crop import Image
from app.pipeline import Pipeline
from app.settings import Settings, granted_cpus
from app.telemetry import Metrics


class Service:
    """The loaded service. Raises StartupError if the checkpoint or the detector is not right."""

    def __init__(self, settings: Settings) -> None:
        # Concurrency comes from the workers; OpenCV's own threads would only contend with them.
        cv2.setNumThreads(1)
        self.settings = settings
        self.metrics = Metrics()
        self.checkpoint = load_checkpoint(settings.checkpoint_dir)
        self._detector = CenterFace.of_settings(settings)
        device = choose_device(settings.device)
        engine: Engine = TorchEngine(
            self.checkpoint.network,
            self.checkpoint.markup,
            device,
            settings.network_threads or granted_cpus(),
        )
        self._batcher: Batcher[Image, Alignment] = Batcher(
            engine.align,
            max_batch=settings.max_batch_faces,
            max_queue=settings.max_queue_faces,
            prepare=partial(engine.warm_up, settings.max_batch_faces),
            on_batch=self.metrics.observe_batch,
        )
        self._worker_count = settings.worker_threads or granted_cpus()
        self.workers = ThreadPoolExecutor(self._worker_count, "worker")
        self.pipeline = Pipeline(
            self._detector,
            self._batcher,
            self.workers,
            settings.max_image_pixels,
            settings.max_image_side_px,
        )
        self._inflight = 0
        self._detector_ready = threading.Event()
        self._stopping = False
        self._export_state(str(device))

    def start(self) -> None:
        """Begin to warm up; `not_ready_reasons` tells when it is done."""
        self._batcher.start()
        threading.Thread(target=self._warm_up_detector, name="warm-up", daemon=True).start()

    async def stop(self) -> None:
        """Finish what was accepted and stop the threads."""
        self._stopping = True
        await self._batcher.close()
        # What was accepted is answered by now; a worker stuck in a decoder is not waited for.
        self.workers.shutdown(wait=False, cancel_futures=True)

    @property
    def alive(self) -> bool:
        """Whether requests can ever be answered by this process."""
        return self._batcher.alive

    def not_ready_reasons(self) -> list[str]:
        """Why no traffic should come here now; empty when ready."""
        reasons = {
            "stopping": self._stopping,
            "network thread has ended": not self._batcher.alive,
            "network is warming up": not self._batcher.prepared,
            "detector is warming up": not self._detector_ready.is_set(),
        }
        return [reason for reason, holds in reasons.items() if holds]

    def check_admission(self) -> None:
        """Raises QueueFull or NotReady if a request could not be admitted now."""
        if reasons := self.not_ready_reasons():
            raise NotReady(f"Not ready: {', '.join(reasons)}.", headers=retry_after(0))
        if self._inflight >= self.settings.max_inflight_requests:
            raise QueueFull(
                f"{self._inflight} requests are in progress already.",
                headers=self.retry_after(),
            )

    def retry_after(self) -> dict[str, str]:
        """The header that says when the work at hand will be done."""
        return retry_after(self._batcher.expected_wait_s())

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Hold one of the places for requests. Raises QueueFull or NotReady."""
        self.check_admission()
        self._inflight += 1
        try:
            yield
        finally:
            self._inflight -= 1

    def _warm_up_detector(self) -> None:
        """Load each worker's own detector, so that no caller pays for it."""
        together = threading.Barrier(self._worker_count)
        side = self.settings.detection_longest_side_px

        def warm_up() -> None:
            together.wait()
            self._detector.detect(np.zeros((side, side, 3), np.uint8))

        for task in [self.workers.submit(warm_up) for _ in range(self._worker_count)]:
            task.result()
        self._detector_ready.set()

    def _export_state(self, device: str) -> None:
        manifest = self.checkpoint.manifest
        self.metrics.model.info(
            {
                "name": manifest.name,
                "version": manifest.version,
                "markup": manifest.markup,
                "sha256": manifest.sha256,
                "device": device,
            }
        )
        self.metrics.queue_faces.set_function(lambda: self._batcher.queued)
        self.metrics.queue_age.set_function(self._batcher.oldest_age_s)
        self.metrics.inflight.set_function(lambda: self._inflight)
