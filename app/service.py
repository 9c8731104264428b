"""Everything one process holds: the checkpoint, the detector, the batcher, the workers."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import cv2
import numpy as np

from app.batching import Batcher
from app.batching.batcher import retry_after
from app.checkpoints import Checkpoint, load_checkpoint
from app.detection.centerface import CenterFace
from app.engine import Alignment, Engine
from app.engine.choose import create_engine
from app.errors import NotReady, QueueFull
from app.imaging.crop import Image
from app.pipeline import Pipeline
from app.settings import Settings, granted_cpus
from app.telemetry import Metrics

logger = logging.getLogger(__name__)

# When the service stops, all callers are answered: what the device still does is for nobody.
LAST_BATCH_S = 2.0

MakeEngine = Callable[[Checkpoint, Settings], Engine]


class Service:
    """The loaded service. Raises StartupError if the checkpoint or the detector is not right."""

    def __init__(self, settings: Settings, make_engine: MakeEngine = create_engine) -> None:
        # Concurrency comes from the workers; OpenCV's own threads would only contend with them.
        cv2.setNumThreads(1)
        self.settings = settings
        self.metrics = Metrics()
        self.checkpoint = load_checkpoint(settings.checkpoint_dir)
        self._detector = CenterFace.of_settings(settings)
        engine = make_engine(self.checkpoint, settings)
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
        self._taken: set[asyncio.Timeout] = set()
        self._detector_ready = threading.Event()
        self._detector_failure: str | None = None
        self._draining = False
        self._stopping = False
        self._export_state(engine)

    def start(self) -> None:
        """Begin to warm up; `not_ready_reasons` tells when it is done."""
        self._batcher.start()
        threading.Thread(target=self._warm_up_detector, name="warm-up", daemon=True).start()

    def drain(self) -> None:
        """Ask for no more traffic, but serve what comes."""
        self._draining = True

    def stop_admitting(self) -> None:
        """Refuse what comes; what was taken has as long as a request may take."""
        self._stopping = True
        self._end_requests_in(self.settings.request_deadline_ms / 1000)

    def abandon(self) -> None:
        """Answer what was taken at once, with the news that the service has stopped."""
        self._end_requests_in(0)

    async def stop(self) -> None:
        """Stop the threads. To be called once `finished`: a request of now would fail."""
        self._stopping = True
        await self._batcher.close(LAST_BATCH_S)
        # A worker stuck in a decoder is not waited for.
        self.workers.shutdown(wait=False, cancel_futures=True)

    @property
    def finished(self) -> bool:
        """Whether the service has stopped, and answered all it had taken."""
        return self._stopping and not self._taken

    @property
    def leaving(self) -> bool:
        """Whether this process is about to end, well or not."""
        return self._draining or self._stopping or self.failure is not None

    @property
    def failure(self) -> str | None:
        """Why only a restart helps; None while this process can answer requests."""
        return self._batcher.failure or self._detector_failure

    def check_progress(self) -> None:
        """Look whether the network hangs or has died, which shows in `failure`; from any thread."""
        self._batcher.check_progress(self.settings.forward_timeout_ms / 1000)

    def not_ready_reasons(self) -> list[str]:
        """Why no traffic should come here now; empty when ready."""
        return ["draining"] * self._draining + self._not_admitting_reasons()

    def check_admission(self, deadline_s: float) -> None:
        """Raise NotReady or QueueFull if a request would be refused now.

        It is to be answered within `deadline_s`: what the queue will not take in time need not be
        read and decoded first.
        """
        if reasons := self._not_admitting_reasons():
            raise NotReady(f"Not ready: {', '.join(reasons)}.", headers=retry_after(0))
        self._check_places()
        self._batcher.check_admission(1, time.monotonic() + deadline_s)

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Take a request: a stop waits for its end. Raises NotReady in the block if it cannot."""
        request = asyncio.timeout(None)
        self._taken.add(request)
        try:
            async with request:
                yield
        except TimeoutError as error:
            if not request.expired():
                raise
            raise NotReady("The service has stopped.", headers=retry_after(0)) from error
        finally:
            self._taken.discard(request)

    def retry_after(self) -> dict[str, str]:
        """The header that says when the work at hand will be done."""
        return retry_after(self._batcher.expected_wait_s())

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Hold one of the places for requests. Raises QueueFull."""
        self._check_places()
        self._inflight += 1
        try:
            yield
        finally:
            self._inflight -= 1

    def _check_places(self) -> None:
        if self._inflight >= self.settings.max_inflight_requests:
            raise QueueFull(
                f"{self._inflight} requests are in progress already.",
                headers=self.retry_after(),
            )

    def _not_admitting_reasons(self) -> list[str]:
        reasons = ["stopping"] * self._stopping
        if self.failure:
            return [*reasons, self.failure]
        if not self._batcher.prepared:
            reasons.append("network is warming up")
        if not self._detector_ready.is_set():
            reasons.append("detector is warming up")
        return reasons

    def _end_requests_in(self, seconds: float) -> None:
        end = asyncio.get_running_loop().time() + seconds
        for request in self._taken:
            if not request.expired():
                request.reschedule(end)

    def _warm_up_detector(self) -> None:
        """Load each worker's own detector, so that no caller pays for it."""
        try:
            self._detect_on_every_worker()
        except Exception as error:
            if self._stopping:  # took the workers away
                return
            logger.critical("the detector cannot be warmed up", exc_info=error)
            self._detector_failure = f"the detector's warm-up was ended by {type(error).__name__}"
        else:
            self._detector_ready.set()

    def _detect_on_every_worker(self) -> None:
        together = threading.Barrier(self._worker_count)
        side = self.settings.detection_longest_side_px

        def warm_up() -> None:
            together.wait()
            self._detector.detect(np.zeros((side, side, 3), np.uint8))

        for task in [self.workers.submit(warm_up) for _ in range(self._worker_count)]:
            task.result()

    def _export_state(self, engine: Engine) -> None:
        manifest = self.checkpoint.manifest
        self.metrics.model.info(
            {
                "name": manifest.name,
                "version": manifest.version,
                "markup": manifest.markup,
                "sha256": manifest.sha256,
                "engine": engine.name,
                "device": engine.device,
            }
        )
        self.metrics.queue_faces.set_function(lambda: self._batcher.queued)
        self.metrics.queue_limit.set(self.settings.max_queue_faces)
        self.metrics.queue_age.set_function(self._batcher.oldest_age_s)
        self.metrics.inflight.set_function(lambda: self._inflight)
        self.metrics.inflight_limit.set(self.settings.max_inflight_requests)
        self.metrics.upload_limit.set(self.settings.max_held_upload_bytes)
        self.metrics.batch_limit.set_function(lambda: self._batcher.max_batch)
        self.metrics.pass_age.set_function(self._batcher.pass_age_s)
        self.metrics.ready.set_function(lambda: not self.not_ready_reasons())
