"""Everything one process holds, put together: models, detector, device, workers, intake."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from app.batching import Batcher, BatchReport, Device
from app.errors import NotReady
from app.intake import Intake
from app.metrics import Metrics
from app.models import LoadedModel, Models
from app.pipeline import Pipeline
from app.readiness import Readiness
from app.settings import Settings
from app.workers import Workers
from lwbafa.aligner import FaceAligner
from lwbafa.checkpoint import Checkpoint
from lwbafa.cpus import granted_cpus
from lwbafa.detection.choose import DetectorOptions, create_detector
from lwbafa.engine import Engine, OverlappingEngine
from lwbafa.engine.choose import EngineOptions, create_engine
from lwbafa.imaging.header import ImageLimits

LAST_BATCH_S = 2.0
"""How long a stop waits for the device: by then every caller has its answer; nobody waits for the
last batch."""

MakeEngine = Callable[[Checkpoint, EngineOptions], Engine]


class Service:
    """The loaded service. Raises LoadError or StartupError if a model or the detector is wrong."""

    def __init__(self, settings: Settings, make_engine: MakeEngine = create_engine) -> None:
        # Concurrency comes from the workers; OpenCV's own threads would only contend with them.
        cv2.setNumThreads(1)
        self.settings = settings
        self.metrics = Metrics()
        self._make_engine = make_engine
        self._device = Device()
        self._detector = create_detector(detector_options(settings))
        self.models = Models([self._load(folder) for folder in settings.checkpoint_dirs])
        self._workers = Workers(settings.worker_threads or granted_cpus())
        self.worker_count = self._workers.count
        self.readiness = Readiness(self._device, self._workers)
        self.intake = Intake(settings.max_inflight_requests, self.expected_wait_s)
        limits = ImageLimits(settings.max_image_pixels, settings.max_image_side_px)
        self.pipeline = Pipeline(self._workers.executor, self.worker_count, limits)
        self._export_state()

    def start(self) -> None:
        """Begin to warm up; `readiness` tells when it is done."""
        self._device.start()
        side = self._detector.longest_side_px
        # Each worker loads a detector of its own, so that no caller pays for it.
        self._workers.warm_up(lambda: self._detector.detect(np.zeros((side, side, 3), np.uint8)))

    def drain(self) -> None:
        """Ask for no more traffic, but serve what comes."""
        self.readiness.draining = True

    def stop_admitting(self) -> None:
        """Refuse what comes; what is in progress has as long as a request may take."""
        self.readiness.stopping = True
        self.intake.end_in(self.settings.request_deadline_ms / 1000)

    def abandon(self) -> None:
        """Answer what is in progress at once, with the news that the service has stopped."""
        self.intake.end_in(0)

    async def stop(self) -> None:
        """Stop the threads.

        Call only when `finished`: a request that is still running would fail.
        """
        self.readiness.stopping = True
        await self._device.close(LAST_BATCH_S)
        self._workers.close()

    @property
    def finished(self) -> bool:
        """Whether the service has stopped, and answered all that was in progress."""
        return self.readiness.stopping and self.intake.empty

    def check_progress(self) -> None:
        """Look whether the network hangs or has died, which shows in `readiness.failure`.

        From any thread.
        """
        self._device.check_progress(self.settings.forward_timeout_ms / 1000)

    def refuse_if_late(self, model: LoadedModel, deadline_s: float) -> None:
        """Raise NotReady or QueueFull if a request for a model would be refused now.

        It is to be answered within `deadline_s`: what the queue will not take in time need not be
        read and decoded first.
        """
        if reasons := self.readiness.not_admitting_reasons():
            raise NotReady(f"Not ready: {', '.join(reasons)}.", retry_after_s=0)
        self.intake.refuse_if_full()
        deadline = time.monotonic() + deadline_s
        model.batcher.check_admission(1, deadline)
        self.pipeline.preparation.refuse_if_late(model.batcher, deadline)

    def expected_wait_s(self) -> float:
        """Seconds until the work at hand will be done."""
        in_network = self.models.default.batcher.expected_wait_s()
        return max(in_network, self.pipeline.preparation.expected_wait_s())

    def _load(self, folder: Path) -> LoadedModel:
        """A checkpoint with an engine and a batcher of its own."""
        checkpoint = Checkpoint.load(folder)
        engine = self._make_engine(checkpoint, engine_options(self.settings))
        batcher = Batcher(
            self._device,
            engine.align,
            max_batch=self.settings.max_batch_faces,
            max_queue=self.settings.max_queue_faces,
            begin=engine.begin if isinstance(engine, OverlappingEngine) else None,
            prepare=partial(engine.warm_up, self.settings.max_batch_faces),
            on_batch=partial(self._observe, checkpoint.name),
        )
        return LoadedModel(FaceAligner(checkpoint, self._detector, engine), batcher)

    def _observe(self, model: str, report: BatchReport) -> None:
        self.metrics.observe_batch(model, **report._asdict())

    def _export_state(self) -> None:
        metrics, settings = self.metrics, self.settings
        for model in self.models:
            manifest, engine = model.checkpoint.manifest, model.aligner.engine
            metrics.add_model(
                model.name,
                {
                    "version": manifest.version,
                    "markup": manifest.markup,
                    "sha256": manifest.sha256,
                    "engine": engine.name,
                    "device": engine.device,
                },
                max_queue_faces=settings.max_queue_faces,
                queue_faces=partial(getattr, model.batcher, "queued"),
                queue_age_s=model.batcher.oldest_age_s,
                batch_limit=partial(getattr, model.batcher, "max_batch"),
            )
        metrics.preparation_age.set_function(self.pipeline.preparation.oldest_age_s)
        metrics.inflight.set_function(lambda: self.intake.in_progress)
        metrics.inflight_limit.set(settings.max_inflight_requests)
        metrics.upload_limit.set(settings.max_held_upload_bytes)
        metrics.pass_age.set_function(self._device.pass_age_s)
        metrics.ready.set_function(lambda: not self.readiness.not_ready_reasons())


def detector_options(settings: Settings) -> DetectorOptions:
    """What the settings ask of the detector."""
    return DetectorOptions(
        settings.detector,
        settings.detector_file,
        settings.detection_longest_side_px,
        settings.detection_score_threshold,
        settings.worker_threads,
    )


def engine_options(settings: Settings) -> EngineOptions:
    """What the settings ask of every model's engine."""
    return EngineOptions(settings.engine, settings.device, settings.network_threads)
